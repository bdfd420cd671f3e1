"""The stack of the key of what is kept: the gateway wraps data keys with it and nobody else, whatever else they may."""

import json

import pytest

from chalicelib.contents.data_keys import context_of
from emulators.iam.policy import Call, Caller, Identity, identity_policy, resource_policy
from emulators.kms import facts
from emulators.kms.decision import KeyRules, refusal
from tests.deployment.packages import ROOT
from tests.deployment.policies import STAGES, statements
from tests.deployment.stacks import template

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
GATEWAY = f"arn:aws:iam::{ACCOUNT}:role/cloister-prod-APIHandlerRole-1A2B3C"
OTHERS = [f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("cloister-dev-APIHandlerRole-1", "somebody")]
OPERATOR = f"arn:aws:iam::{ACCOUNT}:role/operator"
ANYTHING = Identity((identity_policy('{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'),))


def policy() -> str:
    """The key policy of the stage prod, as CloudFormation fills it in."""
    text = json.dumps(template("contents")["Resources"]["ContentKey"]["Properties"]["KeyPolicy"])
    text = text.replace(json.dumps({"Ref": "AdministratorArn"}), json.dumps(OPERATOR))
    for of in ("root", "role/cloister-${Stage}-*"):
        filled = f"arn:aws:iam::{ACCOUNT}:{of}".replace("${Stage}", "prod")
        sub = {"Fn::Sub": f"arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:{of}"}
        text = text.replace(json.dumps(sub), json.dumps(filled))
    assert "Fn::" not in text
    return text


def denied(action: str, caller: str, purpose: str = context_of("acme")["purpose"]) -> bool:
    """Whether KMS refuses the call, to somebody whose own IAM policies allow them everything."""
    who = Caller(arn=caller, account=ACCOUNT, access_key_id="AKIAEXAMPLEEXAMPLE00")
    said = {**facts.of_caller(who), "kms:encryptioncontext:purpose": (purpose,)}
    call = Call(who, f"kms:{action}", KEY, {}, said)
    return refusal(call, KeyRules(ACCOUNT, resource_policy(policy()), ()), ANYTHING) is not None


@pytest.mark.parametrize("action", ["GenerateDataKey", "Decrypt"])
def test_the_gateway_of_the_stage_wraps_data_keys_and_nobody_else(action: str) -> None:
    assert not denied(action, GATEWAY)
    assert denied(action, GATEWAY, "another")
    assert all(denied(action, other) for other in (*OTHERS, OPERATOR))


def test_the_gateway_does_nothing_else_with_it() -> None:
    assert all(denied(action, GATEWAY) for action in ("Encrypt", "ReEncryptFrom", "CreateGrant", "PutKeyPolicy"))


@pytest.mark.parametrize("action", ["PutKeyPolicy", "ScheduleKeyDeletion", "DisableKey"])
def test_the_administrator_alone_changes_whom_the_key_trusts(action: str) -> None:
    assert not denied(action, OPERATOR)
    assert all(denied(action, other) for other in (*OTHERS, GATEWAY))


def test_the_keys_alias_is_the_one_that_the_stages_wrap_with() -> None:
    alias = template("contents")["Resources"]["ContentKeyAlias"]["Properties"]["AliasName"]["Fn::Sub"]
    stages = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]
    for stage in STAGES:
        named = stages[stage]["environment_variables"]["CLOISTER_CONTENT_KEY"]
        (wrapping,) = [each for each in statements(f"policy-{stage}.json") if each["Sid"] == "ContentKey"]
        assert named == alias.replace("${Stage}", stage)
        assert wrapping["Condition"] == {"ForAnyValue:StringEquals": {"kms:ResourceAliases": named}}


def test_the_key_outlives_its_stack_and_is_renewed() -> None:
    key = template("contents")["Resources"]["ContentKey"]
    assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert key["Properties"]["EnableKeyRotation"] is True
