"""The stack of the ticket secret and the platform key, which opens to attested enclaves and to no administrator."""

import json
import re
from typing import Any

import pytest

from cloister import lint
from emulators.iam.policy import Call, Caller, Identity, identity_policy, resource_policy
from emulators.kms import facts
from emulators.kms.decision import KeyRules, refusal
from tests.deployment.packages import ROOT
from tests.deployment.policies import STAGES, each, statements
from tests.deployment.stacks import template

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ENCLAVE, OPERATOR = f"arn:aws:iam::{ACCOUNT}:role/enclave", f"arn:aws:iam::{ACCOUNT}:role/operator"
OLD, NEW, EVIL = ("1" * 96, "2" * 96, "f" * 96)
EPOCH = {"purpose": "cloister-hpke-epoch", "epoch": "e-1", "expires_ms": "1"}
ANYTHING = Identity((identity_policy('{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'),))


def policy(**parameters: Any) -> str:
    """The key policy, as CloudFormation fills it in."""
    given = {"EnclaveRoleArn": ENCLAVE, "AdministratorArn": OPERATOR, "ImageSha384": [OLD, NEW], "SignerPcr8": [""]}
    given |= parameters

    def filled(value: Any) -> Any:
        match value:
            case {"Ref": name}:
                return given[name]
            case {"Fn::If": ["Signed", signed, unsigned]}:
                return filled(signed if "".join(given["SignerPcr8"]) else unsigned)
            case dict():
                return {name: filled(part) for name, part in value.items()}
            case list():
                return [filled(part) for part in value]
        return value

    return json.dumps(filled(template("sealing")["Resources"]["PlatformKey"]["Properties"]["KeyPolicy"]))


def denied(
    action: str,
    caller: str = ENCLAVE,
    pcrs: dict[int, str] | None = None,
    context: dict[str, str] = EPOCH,
    text: str | None = None,
) -> bool:
    """Whether KMS refuses the call, to somebody whose own IAM policies allow them everything."""
    who = Caller(arn=caller, account=ACCOUNT, access_key_id="AKIAEXAMPLEEXAMPLE00")
    measured = {number: bytes.fromhex(value) for number, value in (pcrs or {}).items()}
    said = {**facts.of_caller(who), **facts.of_context(context), **facts.of_measurements(measured)}
    call = Call(who, f"kms:{action}", KEY, context, said)
    return refusal(call, KeyRules(ACCOUNT, resource_policy(text or policy()), ()), ANYTHING) is not None


OPENS = ["Decrypt", "GenerateDataKey"]


@pytest.mark.parametrize("action", OPENS)
def test_an_enclave_of_either_release_opens_epochs_and_another_image_does_not(action: str) -> None:
    assert not denied(action, pcrs={0: OLD})
    assert not denied(action, pcrs={0: NEW})
    assert denied(action, pcrs={0: EVIL})
    assert denied(action, pcrs=None), "the parent itself, with the same role"
    assert denied(action, pcrs={0: OLD}, context={**EPOCH, "purpose": "other"})
    assert denied(action, caller=OPERATOR, pcrs={0: OLD})


@pytest.mark.parametrize("action", OPENS)
def test_where_images_are_signed_the_signer_is_asked_for_too(action: str) -> None:
    text = policy(SignerPcr8=["a" * 96])
    assert not denied(action, pcrs={0: OLD, 8: "a" * 96}, text=text)
    assert denied(action, pcrs={0: OLD, 8: "b" * 96}, text=text)
    assert denied(action, pcrs={0: OLD}, text=text)


ANYBODY = [ENCLAVE, OPERATOR, f"arn:aws:iam::{ACCOUNT}:user/someone", f"arn:aws:iam::{ACCOUNT}:root"]
UNATTESTED = ["Encrypt", "ReEncryptFrom", "ReEncryptTo", "CreateGrant", "ReplicateKey", "ImportKeyMaterial"]


@pytest.mark.parametrize("caller", ANYBODY)
@pytest.mark.parametrize("action", UNATTESTED)
def test_nobody_may_encrypt_grant_or_copy_whatever_their_own_policies_allow(action: str, caller: str) -> None:
    assert denied(action, caller=caller, pcrs={0: OLD})


def test_the_administrator_keeps_the_key_and_can_never_open_it() -> None:
    assert not denied("PutKeyPolicy", caller=OPERATOR)
    assert all(denied(action, caller=OPERATOR) for action in OPENS)
    assert denied("PutKeyPolicy", caller=ENCLAVE)


def test_doctor_finds_nothing_but_the_administrator_in_it() -> None:
    found = lint.lint(policy(), KEY)
    assert {finding.rule for finding in found} <= {"put-key-policy"}, found


def test_debug_mode_cannot_be_let_in_by_mistake() -> None:
    for name in ("ImageSha384", "SignerPcr8"):
        pattern = re.compile(template("sealing")["Parameters"][name]["AllowedPattern"])
        assert pattern.search("1" * 96) and not pattern.search("0" * 96) and not pattern.search("A" * 96)


def test_neither_the_key_nor_the_secret_is_lost_by_a_mistake() -> None:
    for resource in template("sealing")["Resources"].values():
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_the_template_holds_no_secret() -> None:
    assert set(template("sealing")["Resources"]["TicketKey"]["Properties"]) == {"Name", "Description"}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_reads_the_secret_that_is_made_for_it(stage: str) -> None:
    settings = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"][stage]["environment_variables"]
    made = template("sealing")["Resources"]["TicketKey"]["Properties"]["Name"]["Fn::Sub"].replace("${Stage}", stage)
    (allowed,) = [one for one in statements(f"policy-{stage}.json") if one["Sid"] == "TicketKey"]
    assert settings["CLOISTER_TICKET_SECRET"] == made
    assert each(allowed["Action"]) == ["secretsmanager:GetSecretValue"]
    assert allowed["Resource"] == f"arn:*:secretsmanager:*:*:secret:{made}*"  # Secrets Manager adds six letters
