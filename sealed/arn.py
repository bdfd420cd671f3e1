"""The full ARN of a KMS key. An alias may point at another key tomorrow, so it names none."""

import re
from typing import Self

import msgspec

from .refusal import BadArn

_KEY = re.compile(
    r"arn:(?P<partition>aws(?:-[a-z]+)*):kms:(?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}):(?P<account>[0-9]{12})"
    r":key/(?P<key_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})"
)


class KeyArn(msgspec.Struct, frozen=True):
    """A KMS key: arn:PARTITION:kms:REGION:ACCOUNT:key/KEY_ID, where KEY_ID is a UUID or `mrk-` and 32 hex digits.

    https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id-key-ARN
    """

    partition: str
    region: str
    account: str
    key_id: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key that `text` names. Raises: BadArn."""
        found = _KEY.fullmatch(text)
        if found is None:
            raise BadArn("Name the key by its full ARN, arn:PARTITION:kms:REGION:ACCOUNT:key/KEY_ID, not by an alias.")
        return cls(**found.groupdict())

    def __str__(self) -> str:
        return f"arn:{self.partition}:kms:{self.region}:{self.account}:key/{self.key_id}"
