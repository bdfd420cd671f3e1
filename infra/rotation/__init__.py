"""What the rotation function of infra/bedrock.yaml is made of; it runs by itself, with botocore alone."""
