"""The stack of the audit key, with which the notary signs and nobody else, whatever else they may."""

import json

import pytest

from emulators.iam.policy import Call, Caller, Identity, identity_policy, resource_policy
from emulators.kms import facts
from emulators.kms.decision import KeyRules, refusal
from tests.deployment.packages import ROOT
from tests.deployment.policies import STAGES, statements
from tests.deployment.stacks import template

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
NOTARY, OPERATOR, AUDITOR = (f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("notary", "operator", "auditor"))
ANYTHING = Identity((identity_policy('{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'),))


def policy() -> str:
    """The key policy, as CloudFormation fills it in."""
    text = json.dumps(template("audit")["Resources"]["AuditKey"]["Properties"]["KeyPolicy"])
    for reference, value in (("NotaryRoleArn", NOTARY), ("AdministratorArn", OPERATOR)):
        text = text.replace(json.dumps({"Ref": reference}), json.dumps(value))
    root = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}
    return text.replace(json.dumps(root), json.dumps(f"arn:aws:iam::{ACCOUNT}:root"))


def denied(action: str, caller: str, algorithm: str = "ECDSA_SHA_256") -> bool:
    """Whether KMS refuses the call, to somebody whose own IAM policies allow them everything."""
    who = Caller(arn=caller, account=ACCOUNT, access_key_id="AKIAEXAMPLEEXAMPLE00")
    said = {**facts.of_caller(who), "kms:signingalgorithm": (algorithm,)}
    call = Call(who, f"kms:{action}", KEY, {}, said)
    return refusal(call, KeyRules(ACCOUNT, resource_policy(policy()), ()), ANYTHING) is not None


def test_the_notary_signs_and_nobody_else() -> None:
    assert not denied("Sign", NOTARY)
    assert denied("Sign", OPERATOR) and denied("Sign", AUDITOR)
    assert denied("Sign", NOTARY, "ECDSA_SHA_384")


def test_whoever_the_account_lets_may_verify() -> None:
    for caller in (OPERATOR, AUDITOR, NOTARY):
        assert not denied("GetPublicKey", caller)


@pytest.mark.parametrize("action", ["PutKeyPolicy", "ScheduleKeyDeletion", "DisableKey"])
def test_the_administrator_alone_changes_whom_the_key_trusts(action: str) -> None:
    assert not denied(action, OPERATOR)
    assert denied(action, NOTARY) and denied(action, AUDITOR)


def test_nobody_may_grant() -> None:
    assert denied("CreateGrant", OPERATOR) and denied("CreateGrant", NOTARY)


def test_the_keys_alias_is_the_one_that_the_stages_sign_with() -> None:
    resources = template("audit")["Resources"]
    alias = resources["AuditKeyAlias"]["Properties"]["AliasName"]["Fn::Sub"]
    stages = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]
    for stage in STAGES:
        named = stages[stage]["lambda_functions"]["notary"]["environment_variables"]["CLOISTER_AUDIT_KEY"]
        (signing,) = [each for each in statements(f"policy-{stage}-notary.json") if each["Action"] == "kms:Sign"]
        assert named == alias.replace("${Stage}", stage)
        assert signing["Condition"] == {"ForAnyValue:StringEquals": {"kms:ResourceAliases": named}}


def test_the_key_outlives_its_stack() -> None:
    key = template("audit")["Resources"]["AuditKey"]
    assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert (key["Properties"]["KeySpec"], key["Properties"]["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")
