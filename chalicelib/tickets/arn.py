"""Which KMS keys a tenant may name: by their full ARN, in a region that this deployment allows."""

import re
from collections.abc import Collection

import msgspec

from chalicelib.refusal import Malformed

# Ids of keys, and of multi-region keys (mrk-): https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html
_ARN = re.compile(
    r"arn:(?P<partition>aws(?:-[a-z]+)*):kms:(?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}):(?P<account>[0-9]{12})"
    r":key/(?P<key_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})"
)


class KeyArn(msgspec.Struct, frozen=True):
    """The full ARN of a KMS key. An alias names whatever it is pointed at later, so it names no key."""

    partition: str
    region: str
    account: str
    key_id: str

    @classmethod
    def parse(cls, text: str, regions: Collection[str]) -> "KeyArn":
        """Raises Malformed, with what to send instead; also for a key that is in none of these regions."""
        found = _ARN.fullmatch(text)
        if found is None:
            raise Malformed(
                "Name the KMS key by its full ARN, ending in `:key/` and the key's id; an alias or an id alone will "
                "not do. `aws kms describe-key --key-id KEY --query KeyMetadata.Arn` prints it.",
                field="key_arn",
            )
        arn = cls(**found.groupdict())
        if arn.region not in regions:
            raise Malformed(
                f"Keys in {arn.region} are not used here. Name one in: {', '.join(sorted(regions))}.", field="key_arn"
            )
        return arn

    def __str__(self) -> str:
        return f"arn:{self.partition}:kms:{self.region}:{self.account}:key/{self.key_id}"
