"""Key policies for the lint: a right one, and what was made wrong of it."""

import json
from typing import Any

from cloister.key_policy import ATTESTATION, key_policy

KEY = "arn:aws:kms:us-east-1:111122223333:key/12345678-1234-1234-1234-123456789012"
APP = "arn:aws:iam::111122223333:role/app"
HOST = "arn:aws:iam::444455556666:role/enclave-host"
OTHER = "arn:aws:iam::999999999999:user/eve"
ROOT = "arn:aws:iam::111122223333:root"
PCR0 = "ab" * 48

Json = dict[str, Any]


def right() -> Json:
    return key_policy([{0: PCR0}], tenant=[APP], administrators=[APP], enclave_role=HOST)


def also(**statement: Any) -> str:
    """The right policy and one more Allow in it."""
    more = {"Sid": "More", "Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "kms:DescribeKey", "Resource": "*"}
    more |= statement
    if "NotAction" in statement:
        del more["Action"]
    if "NotPrincipal" in statement:
        del more["Principal"]
    policy = right()
    policy["Statement"].append(more)
    return json.dumps(policy)


def demanding(measured: Json, operator: str = "StringEqualsIgnoreCase", **statement: Any) -> str:
    """The right policy and one more attested Allow in it, under this condition."""
    condition = {operator: {f"{ATTESTATION}{name}": values for name, values in measured.items()}}
    given: Json = {"Principal": {"AWS": HOST}, "Action": "kms:Decrypt"} | statement
    return also(**given, Condition=condition)
