"""Conditions, operator by operator, against the values of a call."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.iam.conditions import Condition, Judgement, all_of, pattern
from tests.emulators.kms.calls import ALICE, call

PCR0 = bytes(range(48))
HEX = PCR0.hex()
KNOWN = call(context={"tenant_id": "acme", "purpose": "request"}, pcrs={0: PCR0, 3: PCR0[::-1]})
IMAGE = "kms:RecipientAttestation:ImageSha384"
TENANT = "kms:EncryptionContext:tenant_id"
NAMES = "kms:EncryptionContextKeys"


def judge(operator: str, key: str, *wanted: str) -> Judgement:
    return Condition(operator, key, wanted).judge(KNOWN.facts)


@pytest.mark.parametrize(
    ("operator", "key", "wanted", "expected"),
    [
        ("StringEquals", IMAGE, [HEX], True),
        ("StringEquals", IMAGE, [HEX.upper()], False),
        ("StringEqualsIgnoreCase", IMAGE, [HEX.upper()], True),
        ("StringEquals", IMAGE.upper(), [HEX], True),  # a key's name has no case
        ("StringEquals", IMAGE, ["00", HEX], True),  # any of the values
        ("StringEquals", "kms:RecipientAttestation:PCR0", [HEX], True),
        ("StringEquals", "kms:RecipientAttestation:PCR3", [PCR0[::-1].hex()], True),
        ("StringEquals", "kms:RecipientAttestation:PCR3", [HEX], False),
        ("StringEquals", "kms:RecipientAttestation:PCR4", [HEX], False),  # the document has none
        ("StringNotEquals", IMAGE, [HEX], False),
        ("StringNotEquals", IMAGE, ["00", HEX], False),  # none of the values
        ("StringNotEquals", IMAGE, ["00"], True),
        ("StringNotEquals", "kms:RecipientAttestation:PCR4", ["00"], True),  # absent: not equal
        ("StringNotEqualsIgnoreCase", IMAGE, [HEX.upper()], False),
        ("StringLike", TENANT, ["a?m*"], True),
        ("StringLike", TENANT, ["A*"], False),
        ("StringNotLike", TENANT, ["a*"], False),
        ("StringNotLike", TENANT, ["b*"], True),
        ("ArnLike", "aws:PrincipalArn", ["arn:aws:iam::*:user/*"], True),
        ("ArnEquals", "aws:PrincipalArn", [ALICE], True),
        ("ArnLike", "aws:PrincipalArn", ["arn:aws:*:user/alice"], False),  # no star reaches past a colon
        ("ArnLike", TENANT, ["*"], False),  # not an ARN
        ("ArnNotLike", "aws:PrincipalArn", ["arn:aws:iam::*:role/*"], True),
        ("Bool", TENANT, ["true"], False),
        ("Null", IMAGE, ["false"], True),
        ("Null", IMAGE, ["true"], False),
        ("Null", "kms:RecipientAttestation:PCR4", ["true"], True),
        ("Null", "kms:ViaService", ["true"], True),
        ("Null", TENANT, ["false"], True),
        ("StringEqualsIfExists", "kms:ViaService", ["s3"], True),
        ("StringEqualsIfExists", TENANT, ["umbrella"], False),
        ("ForAllValues:StringEquals", NAMES, ["tenant_id", "purpose", "request_id"], True),
        ("ForAllValues:StringEquals", NAMES, ["tenant_id"], False),
        ("ForAllValues:StringEquals", "kms:ViaService", ["s3"], True),  # nothing there: all of nothing
        ("ForAnyValue:StringEquals", NAMES, ["tenant_id"], True),
        ("ForAnyValue:StringEquals", NAMES, ["nobody"], False),
        ("ForAnyValue:StringEquals", "kms:ViaService", ["s3"], False),
        ("ForAnyValue:StringNotEquals", NAMES, ["tenant_id"], True),
        ("ForAllValues:StringNotLike", NAMES, ["aws-*"], True),
        ("ForAllValues:StringEqualsIfExists", "kms:ViaService", ["s3"], True),
    ],
)
def test_an_operator_says_what_iam_documents(operator: str, key: str, wanted: list[str], expected: bool) -> None:
    assert judge(operator, key, *wanted) is expected


@pytest.mark.parametrize(
    ("operator", "key", "wanted"),
    [
        ("DateLessThan", "aws:CurrentTime", "2099-01-01T00:00:00Z"),
        ("StringSimilar", TENANT, "acme"),
        ("Some:StringEquals", TENANT, "acme"),
        ("StringEquals", "aws:SourceVpce", "vpce-1"),
        ("StringNotEquals", "aws:SourceVpce", "vpce-1"),
        ("Null", "aws:MultiFactorAuthPresent", "true"),
        ("StringEqualsIfExists", "aws:SourceVpce", "vpce-1"),
        ("StringEquals", TENANT, "${aws:PrincipalTag/tenant}"),
        ("StringEquals", NAMES, "tenant_id"),  # two values, and no set operator
    ],
)
def test_what_is_not_known_here_is_neither_true_nor_false(operator: str, key: str, wanted: str) -> None:
    assert judge(operator, key, wanted) is None


def test_names_in_the_encryption_context_that_differ_by_case_are_one_key_with_two_values() -> None:
    known = call(context={"Tenant": "acme", "tenant": "umbrella"})
    one = Condition("StringEquals", "kms:EncryptionContext:tenant", ("acme",))
    any_of = Condition("ForAnyValue:StringEquals", "kms:EncryptionContext:TENANT", ("acme",))

    assert one.judge(known.facts) is None
    assert any_of.judge(known.facts) is True


JUDGEMENTS = st.lists(st.sampled_from([True, False, None]))


@given(JUDGEMENTS, st.randoms(use_true_random=False))
def test_a_conjunction_does_not_depend_on_order(judgements: list[Judgement], random: Any) -> None:
    shuffled = list(judgements)
    random.shuffle(shuffled)

    assert all_of(judgements) is all_of(shuffled)
    assert all_of([*judgements, False]) is False
    assert all_of([*judgements, None]) is not True


def _matches(wanted: str, value: str) -> bool:
    """The definition of a pattern, letter by letter."""
    if not wanted:
        return not value
    if wanted[0] == "*":
        return _matches(wanted[1:], value) or (bool(value) and _matches(wanted, value[1:]))
    return bool(value) and wanted[0] in ("?", value[0]) and _matches(wanted[1:], value[1:])


@given(st.text("ab*?[]\\.\n", max_size=7), st.text("ab*?[]\\.\n", max_size=7))
def test_only_star_and_question_mark_are_special(wanted: str, value: str) -> None:
    assert (pattern(wanted).fullmatch(value) is not None) is _matches(wanted, value)
