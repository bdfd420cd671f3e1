"""AWS's partitions. A leaf: every room may import it."""


def partition_of(name: str) -> str:
    """As an audit calls it: by the name of a region or of the partition itself
    (https://docs.aws.amazon.com/govcloud-us/latest/UserGuide/using-govcloud-arns.html)."""
    return "govcloud" if name.startswith(("us-gov-", "aws-us-gov")) else "commercial"
