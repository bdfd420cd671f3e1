"""What stands beside the gateway on AWS: the tables' stack, and what readies the gateway's package for Lambda."""
