"""Which KMS keys may be named, and what those are told who name others."""

import pytest

from chalicelib.refusal import Malformed
from chalicelib.tickets import KeyArn

UUID = "1234abcd-12ab-34cd-56ef-1234567890ab"
REGIONS = ["us-east-1", "us-gov-west-1"]


@pytest.mark.parametrize(
    "text",
    [
        f"arn:aws:kms:us-east-1:111122223333:key/{UUID}",
        f"arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/{UUID}",
        "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
    ],
)
def test_a_full_arn_is_read_and_written_as_it_is(text: str) -> None:
    arn = KeyArn.parse(text, REGIONS)
    assert str(arn) == text
    assert text == f"arn:{arn.partition}:kms:{arn.region}:{arn.account}:key/{arn.key_id}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        UUID,
        "alias/acme",
        "arn:aws:kms:us-east-1:111122223333:alias/acme",
        f"arn:aws:kms:us-east-1:111122223333:key/{UUID.upper()}",  # the same key under a second name
        f"arn:aws:kms:us-east-1:111122223333:key/{UUID}\n",
        f" arn:aws:kms:us-east-1:111122223333:key/{UUID}",
        f"arn:aws:kms:us-east-1:11112222333:key/{UUID}",
        f"arn:aws:kms::111122223333:key/{UUID}",
        f"arn:aws:s3:us-east-1:111122223333:key/{UUID}",
        f"arn:aws:kms:us-east-1:111122223333:key/{UUID}/x",
        "arn:aws:kms:us-east-1:111122223333:key/mrk-1234",
    ],
)
def test_what_is_not_a_full_key_arn_is_refused_and_told_how_to_find_it(text: str) -> None:
    with pytest.raises(Malformed, match="describe-key") as refused:
        KeyArn.parse(text, REGIONS)
    assert refused.value.field == "key_arn"


def test_a_key_of_another_region_is_refused_and_told_the_regions() -> None:
    with pytest.raises(Malformed, match=r"eu-west-1.*us-east-1, us-gov-west-1"):
        KeyArn.parse(f"arn:aws:kms:eu-west-1:111122223333:key/{UUID}", REGIONS)
