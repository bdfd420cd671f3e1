"""Which names of keys are taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealed.arn import KeyArn
from sealed.refusal import BadArn

UUID = "1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"arn:aws:kms:us-east-1:111122223333:key/{UUID}", KeyArn("aws", "us-east-1", "111122223333", UUID)),
        (
            f"arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/{UUID}",
            KeyArn("aws-us-gov", "us-gov-west-1", "111122223333", UUID),
        ),
        (f"arn:aws-cn:kms:cn-north-1:111122223333:key/{UUID}", KeyArn("aws-cn", "cn-north-1", "111122223333", UUID)),
        (
            f"arn:aws:kms:ap-southeast-12:111122223333:key/mrk-{'0a' * 16}",
            KeyArn("aws", "ap-southeast-12", "111122223333", "mrk-" + "0a" * 16),
        ),
    ],
)
def test_the_full_arn_of_a_key_is_taken_apart_and_put_together(text: str, key: KeyArn) -> None:
    assert KeyArn.parse(text) == key
    assert str(key) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        UUID,
        "alias/mine",
        "arn:aws:kms:us-east-1:111122223333:alias/mine",
        f"arn:aws:kms:us-east-1:111122223333:{UUID}",
        f"arn:aws:kms::111122223333:key/{UUID}",
        f"arn:aws:kms:us-east-1::key/{UUID}",
        f"arn:aws:s3:us-east-1:111122223333:key/{UUID}",
        f"arn:other:kms:us-east-1:111122223333:key/{UUID}",
        f"arn:aws:kms:us-east-1:11112222333:key/{UUID}",
        f"arn:aws:kms:us-east-1:11112222333٣:key/{UUID}",
        f"arn:aws:kms:us-east-1:111122223333:key/{UUID.upper()}",
        f"arn:aws:kms:us-east-1:111122223333:key/{UUID}\n",
        f" arn:aws:kms:us-east-1:111122223333:key/{UUID}",
        f"arn:aws:kms:us-east-1:111122223333:key/{UUID}:more",
        "arn:aws:kms:us-east-1:111122223333:key/*",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadArn, match="full ARN"):
        KeyArn.parse(text)


@given(st.text(max_size=100))
def test_no_text_does_anything_else_than_to_be_refused(text: str) -> None:
    with pytest.raises(BadArn):
        KeyArn.parse(f"arn:aws:kms:us-east-1:111122223333:key/{text}")
