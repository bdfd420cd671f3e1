"""Each way to get a key policy wrong has its finding, and a right one has none."""

import json

import pytest

import cloister
from cloister.lint import lint, lint_grants
from local.account import tenant_policy
from tests.client.policies import APP, HOST, KEY, OTHER, PCR0, ROOT, also, demanding, right

ALIAS = "arn:aws:kms:us-east-1:111122223333:alias/mine"


def rules(policy: str, key_arn: str = KEY) -> set[str]:
    return {finding.rule for finding in lint(policy, key_arn)}


def test_a_right_policy_has_no_finding() -> None:
    assert lint(json.dumps(right()), KEY) == []


def test_the_policy_of_the_local_systems_key_has_no_finding() -> None:
    assert lint(json.dumps(tenant_policy(APP, HOST, PCR0)), KEY) == []


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        (also(Action="kms:Decrypt"), "unattested"),
        (also(Action=["kms:DescribeKey", "kms:GenerateDataKey"]), "unattested"),
        (also(Action="kms:GenerateDataKey*"), "unattested"),
        (also(Action="KMS:DECRYPT"), "unattested"),
        (also(Action="kms:D?crypt"), "unattested"),
        (also(Action="kms:Decrypt", Principal={"AWS": HOST}), "unattested"),
        (also(Action="kms:Decrypt", Principal={"AWS": ROOT}), "unattested"),
        (also(Action="kms:Decrypt", Principal={"AWS": "111122223333"}), "unattested"),
        (also(Action="kms:Decrypt", Principal={"Service": "lambda.amazonaws.com"}), "unattested"),
        (also(Action="kms:Decrypt", Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}), "unattested"),
        (also(Action="kms:*", Principal={"AWS": ROOT}), "unattested"),
        (also(Action="kms:*", Principal={"AWS": APP}), "wildcard-action"),
        (also(Action="*", Principal={"AWS": APP}), "wildcard-action"),
        (also(Principal="*"), "wildcard-principal"),
        (also(Principal={"AWS": ["*"]}), "wildcard-principal"),
        (also(Principal={"AWS": "arn:aws:iam::111122223333:role/*"}), "wildcard-principal"),
        (also(NotAction="kms:PutKeyPolicy"), "not-action"),
        (also(NotAction="kms:PutKeyPolicy"), "unattested"),
        (also(NotPrincipal={"AWS": OTHER}), "not-principal"),
        (also(NotPrincipal={"AWS": OTHER}, Action="kms:Decrypt"), "unattested"),
        (also(Action="kms:PutKeyPolicy"), "put-key-policy"),
        (also(Action="kms:Put*", Principal={"AWS": HOST}), "put-key-policy"),
        (also(Action="kms:PutKeyPolicy", Principal={"AWS": ROOT}), "put-key-policy"),
        (also(Action="kms:CreateGrant"), "create-grant"),
        (also(Action="kms:ReplicateKey"), "replicate-key"),
        (also(Action="kms:ReEncrypt*"), "re-encrypt"),
        (also(Action="kms:ReEncryptFrom"), "re-encrypt"),
        (also(Action="kms:ReEncryptTo"), "re-encrypt"),
        (also(Action="kms:Encrypt"), "encrypt-any-context"),
        (also(Action="kms:Encrypt", Principal={"AWS": HOST}), "encrypt-any-context"),
        (also(Action="kms:Enc*", Principal={"AWS": ROOT}), "encrypt-any-context"),
        (
            also(Action="kms:Encrypt", Condition={"StringEquals": {"kms:EncryptionContext:purpose": ["response"]}}),
            "encrypt-any-context",
        ),
        (
            also(Action="kms:Encrypt", Condition={"Null": {"kms:EncryptionContextKeys": "false"}}),
            "encrypt-any-context",
        ),
        (
            also(Action="kms:Encrypt", Condition={"StringLike": {"kms:EncryptionContext:purpose": "cloister-*"}}),
            "encrypt-any-context",
        ),
        (demanding({"PCR1": PCR0}), "missing-pcr"),
        (demanding({"PCR0": "false"}, "Null"), "missing-pcr"),
        (demanding({"PCR0": PCR0}, Principal={"AWS": ROOT}), "unnamed-host"),
        (demanding({"PCR0": "0" * 96}), "zero-pcr"),
        (demanding({"PCR0": PCR0, "PCR8": "0" * 96}), "zero-pcr"),
        (demanding({"PCR0": PCR0[:-2]}), "pcr-length"),
        (demanding({"PCR0": [PCR0, PCR0 + "0"]}), "pcr-length"),
        (demanding({"ImageSha384": "z" * 96}), "pcr-length"),
        (demanding({"PCR0": PCR0.upper()}, "StringEquals"), "pcr-case"),
        (demanding({"PCR0": PCR0}, "StringEqualsIgnoreCaseIfExists"), "if-exists"),
        (demanding({"PCR0": PCR0}, "ForAllValues:StringEquals"), "if-exists"),
        (demanding({"PCR0": PCR0[:8] + "*"}, "StringLike"), "not-equality"),
        (demanding({"PCR0": PCR0}, "StringNotEquals"), "not-equality"),
        (demanding({"PCR0": "true"}, "Null"), "not-equality"),
        (also(Principal={"AWS": "arn:aws-us-gov:iam::111122223333:role/app"}), "partition"),
        (also(Principal={"AWS": APP}, Resource=KEY.replace("arn:aws:", "arn:aws-cn:")), "partition"),
        (also(Resource=ALIAS), "alias"),
        (also(Condition={"StringEquals": {"kms:RequestAlias": "alias/mine"}}), "alias"),
        (also(Condition={"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/mine"}}), "alias"),
        (json.dumps({"Statement": right()["Statement"][:2]}), "no-enclave"),
    ],
)
def test_each_way_to_be_wrong_is_found(policy: str, rule: str) -> None:
    found = [finding for finding in lint(policy, KEY) if finding.rule == rule]
    assert found, rules(policy)
    assert all(finding.place and finding.reason and finding.fix for finding in found)


@pytest.mark.parametrize(
    "policy",
    [
        also(Action=["kms:Decrypt", "kms:GenerateDataKey*"], Principal={"AWS": APP}),
        also(Action="kms:Decrypt", Principal={"AWS": "arn:aws:iam::111122223333:user/ann"}),
        also(Action="kms:Encrypt", Principal={"AWS": APP}),
        also(Action="kms:Encrypt", Principal={"AWS": HOST}, Condition={"Null": {"kms:EncryptionContextKeys": "true"}}),
        also(Action="kms:Encrypt", Condition={"StringEquals": {"kms:EncryptionContext:purpose": "another"}}),
        also(Effect="Deny", NotAction="kms:Encrypt", Principal="*"),
        also(Effect="Deny", NotPrincipal={"AWS": APP}, Action="kms:PutKeyPolicy"),
        also(Action="kms:Encrypt", Principal={"AWS": HOST}, Condition={"Null": {"kms:EncryptionContextKeys": True}}),
        demanding({"ImageSha384": PCR0}),
        demanding({"PCR0": PCR0, "PCR8": "cd" * 48}),
        demanding({"PCR0": [PCR0, "cd" * 48]}),
        demanding({"PCR0": PCR0.upper()}),
        demanding({"PCR0": PCR0}, "StringEquals"),
    ],
)
def test_what_is_right_is_not_complained_of(policy: str) -> None:
    assert lint(policy, KEY) == []


def test_the_tenants_account_as_a_whole_is_a_warning_and_a_stranger_an_error() -> None:
    (account,) = lint(also(Action="kms:Decrypt", Principal={"AWS": ROOT}), KEY)
    (stranger,) = lint(also(Action="kms:Decrypt"), KEY)
    assert (account.severity, stranger.severity) == ("warning", "error")
    assert "must decrypt answers" in account.reason


def test_a_session_of_the_enclaves_own_role_is_the_role() -> None:
    host = "arn:aws:iam::111122223333:role/parents/enclave"
    attested = json.loads(demanding({"PCR0": PCR0}, Principal={"AWS": host}))["Statement"]
    for name, found in (("enclave", {"unattested"}), ("app", set())):
        session = {"AWS": f"arn:aws:sts::111122223333:assumed-role/{name}/i-0123"}
        unattested = {"Effect": "Allow", "Principal": session, "Action": "kms:Decrypt", "Resource": "*"}
        assert rules(json.dumps({"Statement": [*attested, unattested]})) == found


def test_the_default_policy_of_a_new_key_is_found_in_few_words() -> None:
    default = {"Sid": "Enable", "Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}
    assert rules(json.dumps({"Statement": default})) == {"wildcard-action", "unattested", "no-enclave"}


def test_a_finding_names_its_statement_by_sid_or_by_number() -> None:
    assert [finding.place for finding in lint(also(Action="kms:Decrypt"), KEY)] == ["More"]
    assert [finding.place for finding in lint(also(Action="kms:Decrypt", Sid=None), KEY)] == ["statement 6"]


@pytest.mark.parametrize("arn", [ALIAS, "alias/mine", "12345678-1234-1234-1234-123456789012"])
def test_a_key_that_is_not_named_by_its_arn_is_found(arn: str) -> None:
    assert rules(json.dumps(right()), arn) == {"alias"}


@pytest.mark.parametrize("policy", ["", "[]", "{}", '{"Statement": "x"}', '{"Statement": [{}]}'])
def test_what_is_no_policy_is_refused(policy: str) -> None:
    with pytest.raises(cloister.NotConfigured, match="not a key policy"):
        lint(policy, KEY)


def test_a_grant_that_decrypts_is_found_and_one_that_does_not_is_left_alone() -> None:
    opens = {"GrantId": "g-1", "GranteePrincipal": OTHER, "Operations": ["Decrypt", "DescribeKey"]}
    looks = {"GrantId": "g-2", "GranteePrincipal": OTHER, "Operations": ["DescribeKey"]}
    (finding,) = lint_grants([opens, looks])
    assert (finding.rule, finding.place) == ("grant", "grant g-1")
    assert "--grant-id g-1" in finding.fix
