"""May this caller use this key so: tables of what AWS documents, and what holds of all policies."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.iam.policy import BadPolicy, Call, identity_policy, resource_policy
from emulators.kms.decision import Grant, refusal
from tests.emulators.kms.calls import (
    ACCOUNT,
    ALICE,
    BOB,
    ELSEWHERE,
    EVERYTHING,
    KEY,
    ROLE,
    ROOT,
    SESSION,
    Statement,
    allow,
    allowed,
    call,
    deny,
    identity,
    session,
    text,
    user,
    why_not,
)

PCR0 = b"\x01" * 48
ATTESTED = {"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": PCR0.hex()}}
STRANGER = user(f"arn:aws:iam::{ELSEWHERE}:user/alice")


@pytest.mark.parametrize(
    ("asked", "statement", "expected"),
    [
        (call(), allow(), True),
        (call(), allow(BOB), False),
        (call(), allow([BOB, ALICE]), True),
        (call(), allow("*"), True),
        (call(), allow(["*"]), True),
        (call(), allow(ROOT), False),  # trusts the account, whose IAM says nothing
        (call(), allow(ACCOUNT), False),
        (call(user(ROOT)), allow(ROOT), True),
        (call(user(ROOT)), allow(ACCOUNT), True),
        (call(user(ROOT)), allow(ALICE), False),
        (call(), allow(ROOT.replace("aws", "aws-us-gov", 1)), False),
        (call(session()), allow(ROLE), True),
        (call(session()), allow(SESSION), True),
        (call(session()), allow(SESSION.replace("one", "two")), False),
        (call(session()), allow(ROLE + "-2"), False),
        (call(), allow(action="*"), True),
        (call(), allow(action="kms:*"), True),
        (call(), allow(action="KMS:decrypt"), True),
        (call(), allow(action="kms:D?crypt*"), True),
        (call(), allow(action=["kms:Encrypt", "kms:GenerateDataKey*"]), False),
        (call(action="kms:GenerateDataKeyPair"), allow(action="kms:GenerateDataKey*"), True),
        (call(), allow(Resource=KEY), True),
        (call(), allow(Resource=KEY[:-1] + "*"), True),
        (call(), allow(Resource=KEY[:-1] + "0"), False),
        (call(), allow(Resource="arn:aws:kms:*:${aws:PrincipalAccount}:key/*"), False),
    ],
)
def test_one_statement_on_the_key(asked: Call, statement: Statement, expected: bool) -> None:
    assert allowed(asked, statement) is expected


def test_not_action_allows_everything_else() -> None:
    statement = {key: value for key, value in allow().items() if key != "Action"} | {"NotAction": "kms:Decrypt"}

    assert not allowed(call(), statement)
    assert allowed(call(action="kms:Encrypt"), statement)


def test_no_statement_allows_nothing() -> None:
    assert why_not(call()) == "because no resource-based policy allows the kms:Decrypt action"


def test_several_conditions_must_all_hold() -> None:
    condition = {
        **ATTESTED,
        "StringEquals": {"kms:EncryptionContext:tenant_id": ["acme", "umbrella"], "kms:CallerAccount": ACCOUNT},
        "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["tenant_id"]},
    }
    statement = allow(Condition=condition)

    assert allowed(call(context={"tenant_id": "acme"}, pcrs={0: PCR0}), statement)
    assert not allowed(call(context={"tenant_id": "evil"}, pcrs={0: PCR0}), statement)
    assert not allowed(call(context={"tenant_id": "acme", "more": "x"}, pcrs={0: PCR0}), statement)
    assert not allowed(call(context={"tenant_id": "acme"}), statement)
    assert not allowed(call(context={"tenant_id": "acme"}, pcrs={0: b"\x02" * 48}), statement)


@pytest.mark.parametrize(
    "statement", [deny(), deny("*"), deny(ROOT), deny(action="kms:*"), deny(Condition={"Null": {"aws:X": "true"}})]
)
def test_a_deny_beats_every_allow_and_every_grant(statement: Statement) -> None:
    grant = Grant(ALICE, frozenset({"Decrypt"}), {})
    why = why_not(call(), allow(), allow("*"), statement, grants=(grant,), caller_has=identity(EVERYTHING))

    assert why == "with an explicit deny in a resource-based policy"


def test_a_deny_of_what_is_not_attested_leaves_the_attested() -> None:
    statement = deny("*", Condition={"Null": {"kms:RecipientAttestation:ImageSha384": "true"}})

    assert not allowed(call(), allow(), statement)
    assert allowed(call(pcrs={0: PCR0}), allow(), statement)


def test_an_account_that_is_trusted_decides_by_its_own_policies() -> None:
    assert allowed(call(), allow(ROOT), caller_has=identity(EVERYTHING))
    assert allowed(call(), allow(ROOT), caller_has=identity({**EVERYTHING, "Resource": KEY, "Condition": {}}))
    assert not allowed(call(), allow(ROOT), caller_has=identity({**EVERYTHING, "Condition": ATTESTED}))
    assert allowed(call(pcrs={0: PCR0}), allow(ROOT), caller_has=identity({**EVERYTHING, "Condition": ATTESTED}))
    assert not allowed(call(), allow(ROOT, "kms:Encrypt"), caller_has=identity(EVERYTHING))


def test_a_callers_own_policies_open_no_key_that_does_not_trust_the_account() -> None:
    assert not allowed(call(), allow(BOB), caller_has=identity(EVERYTHING))


def test_a_callers_own_deny_beats_the_key() -> None:
    why = why_not(call(), allow(), caller_has=identity({**EVERYTHING, "Effect": "Deny"}))

    assert why == "with an explicit deny in an identity-based policy"


def test_another_account_needs_both_sides() -> None:
    asked = call(STRANGER)

    assert not allowed(asked, allow("*"))
    assert not allowed(asked, allow(STRANGER.arn))
    assert allowed(asked, allow(STRANGER.arn), caller_has=identity(EVERYTHING))
    assert allowed(asked, allow(ELSEWHERE), caller_has=identity(EVERYTHING))
    assert not allowed(asked, allow(ROOT), caller_has=identity(EVERYTHING))


def test_a_session_policy_only_narrows() -> None:
    only_encrypt = {**EVERYTHING, "Action": "kms:Encrypt"}

    assert not allowed(call(session()), allow(ROLE), caller_has=identity(session_policy=only_encrypt))
    assert not allowed(call(session()), allow(BOB), caller_has=identity(session_policy=EVERYTHING))
    assert allowed(call(session()), allow(ROLE), caller_has=identity(session_policy=EVERYTHING))


@pytest.mark.parametrize(
    ("constraints", "context", "expected"),
    [
        ({}, {}, True),
        ({"EncryptionContextSubset": {"a": "1"}}, {"a": "1", "b": "2"}, True),
        ({"EncryptionContextSubset": {"A": "1"}}, {"a": "1"}, True),  # the keys of a constraint have no case
        ({"EncryptionContextSubset": {"a": "x"}}, {"a": "X"}, False),
        ({"EncryptionContextSubset": {"a": "1"}}, {}, False),
        ({"EncryptionContextEquals": {"a": "1"}}, {"a": "1"}, True),
        ({"EncryptionContextEquals": {"a": "1"}}, {"a": "1", "b": "2"}, False),
        ({"SourceArn": {}}, {}, False),  # not known here
    ],
)
def test_a_grant_holds_within_its_constraints(
    constraints: dict[str, dict[str, str]], context: dict[str, str], expected: bool
) -> None:
    grant = Grant(ALICE, frozenset({"Decrypt"}), constraints)

    assert allowed(call(context=context), allow(BOB), grants=(grant,)) is expected


def test_a_grant_is_for_its_grantee_and_its_operations() -> None:
    grant = Grant(ROLE, frozenset({"Decrypt"}), {})

    assert allowed(call(session()), allow(BOB), grants=(grant,))
    assert not allowed(call(), allow(BOB), grants=(grant,))
    assert not allowed(call(session(), "kms:Encrypt"), allow(BOB), grants=(grant,))


def test_an_operation_without_a_key_is_a_matter_of_the_callers_own_policies() -> None:
    asked = call(action="kms:GenerateRandom")

    assert refusal(asked, None, identity(EVERYTHING)) is None
    assert refusal(asked, None, identity()) == "because no identity-based policy allows the kms:GenerateRandom action"


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        ("nonsense", "JSON"),
        ("[]", "Statement"),
        ('{"Statement": [1]}', "Statement"),
        (text({**allow(), "NotPrincipal": {"AWS": BOB}}), "NotPrincipal"),
        (text({**allow(), "Effect": "Maybe"}), "Effect"),
        (text({**allow(), "NotAction": "kms:*"}), "Action"),
        (text(EVERYTHING), "Principal"),
        (text(allow(f"arn:aws:iam::{ACCOUNT}:role/*")), "wildcard"),
        (text({**allow(), "Condition": {"StringEquals": "x"}}), "Condition"),
        (text({**allow(), "Action": None}), "Action"),
        (text({**deny(), "Principal": {"Aws": ALICE}}), "Principal"),
        ('{"Statement": [], "Statement": []}', "twice"),
    ],
)
def test_a_key_policy_that_cannot_be_read_says_where(policy: str, names: str) -> None:
    with pytest.raises(BadPolicy, match=names):
        resource_policy(policy)


def test_an_identity_policy_names_no_principal() -> None:
    with pytest.raises(BadPolicy, match="Principal"):
        identity_policy(text(allow()))


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["*", "Allow", "kms:*", ALICE]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Statement", "Effect", "Principal", "AWS", "Action", "Resource", "Condition", "x"]), inner
        )
    ),
)


@given(JSON)
def test_whatever_is_put_on_a_key_is_a_policy_or_refused(document: Any) -> None:
    try:
        resource_policy(json.dumps(document)).allows(call())
    except BadPolicy:
        return


CONDITIONS = st.dictionaries(
    st.sampled_from(["StringEquals", "StringNotEquals", "StringLike", "Null", "Bool", "Unheard"]),
    st.dictionaries(
        st.sampled_from(
            ["kms:EncryptionContext:a", "kms:RecipientAttestation:PCR0", "aws:PrincipalArn", "aws:Unheard"]
        ),
        st.sampled_from(["1", "true", "false", "*", PCR0.hex(), ALICE]),
        max_size=2,
    ),
    max_size=2,
)
STATEMENTS = st.lists(
    st.builds(
        lambda effect, principal, action, condition: {**allow(principal, action), "Effect": effect} | condition,
        st.sampled_from(["Allow", "Deny"]),
        st.sampled_from(["*", ALICE, BOB, ROOT]),
        st.sampled_from(["kms:*", "kms:Decrypt", "kms:Enc*"]),
        st.builds(lambda condition: {"Condition": condition}, CONDITIONS),
    ),
    max_size=4,
)
CALLS = st.builds(
    lambda who, attested, context: call(who, context=context, pcrs={0: PCR0} if attested else None),
    st.sampled_from([user(), user(BOB), session()]),
    st.booleans(),
    st.sampled_from([{}, {"a": "1"}]),
)


@given(CALLS, STATEMENTS, STATEMENTS)
def test_the_order_of_statements_means_nothing(asked: Call, some: list[Statement], more: list[Statement]) -> None:
    assert allowed(asked, *some, *more) is allowed(asked, *more, *some)


@given(CALLS, STATEMENTS, STATEMENTS)
def test_another_deny_never_opens_and_another_allow_never_closes(
    asked: Call, some: list[Statement], more: list[Statement]
) -> None:
    now = allowed(asked, *some)
    denies = [each for each in more if each["Effect"] == "Deny"]
    allows = [each for each in more if each["Effect"] == "Allow"]

    assert allowed(asked, *some, *denies) <= now <= allowed(asked, *some, *allows)


@given(CALLS, STATEMENTS)
def test_a_condition_that_is_not_known_never_helps_the_caller(asked: Call, some: list[Statement]) -> None:
    def obscured(each: Statement) -> Statement:
        return {**each, "Condition": {**each["Condition"], "Unheard": {"kms:CallerAccount": ACCOUNT}}}

    assert allowed(asked, *map(obscured, some)) <= allowed(asked, *some)
    assert not allowed(asked, *(obscured(each) for each in some if each["Effect"] == "Allow"))
