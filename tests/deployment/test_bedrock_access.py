"""Who may call Bedrock, and how far: as much as the engine really calls over HTTP, and no more."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from chalicelib.engines.bedrock.catalogue import Catalogue
from chalicelib.engines.transport.bounds import monotonic_ms
from chalicelib.pool import Bedrock
from emulators.iam.policy import Call, Caller, Identity, identity_policy
from tests.deployment.packages import ROOT
from tests.deployment.policies import STAGES, each, statements
from tests.deployment.stacks import template
from tests.engines.bedrocks import (
    ANY_MODEL,
    HAIKU,
    ON_HAIKU,
    OPUS,
    LocalBedrock,
    anthropic,
    ask,
    chat,
    invoke,
    message,
    sandbox,
    served,
)
from tests.stores import with_credentials

ACCOUNT = "111122223333"
USER = f"arn:aws:iam::{ACCOUNT}:user/caller"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/invoker"
REGIONS = ["us-east-1", "us-west-2"]
FROM_EUROPE = Bedrock("eu-opus", model=OPUS, region="eu-central-1")  # has a profile in the US only

REGIONS_OF_STAGES = {"commercial": ("us-east-1", "us-east-2", "us-west-2"), "gov": ("us-gov-east-1", "us-gov-west-1")}
GUARDRAILS = "bedrock:ApplyGuardrail"

# What each operation is allowed by; see "requires permission" on each page of
# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and its like.
ALLOWED_BY = {
    "Converse": "bedrock:InvokeModel",
    "ConverseStream": "bedrock:InvokeModelWithResponseStream",
}


class Used(NamedTuple):
    """The actions of IAM that are needed."""

    by_calls: set[str]  # of models
    in_all: set[str]  # and to list them


@pytest.fixture(scope="module")
def served_bedrock() -> Iterator[LocalBedrock]:
    with_credentials()
    with served() as bedrock:
        yield bedrock


@pytest.fixture
def used(served_bedrock: LocalBedrock, monkeypatch: pytest.MonkeyPatch) -> Used:
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", served_bedrock.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", served_bedrock.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", served_bedrock.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", served_bedrock.secret_access_key)
    engine = sandbox()
    engine.probe(ON_HAIKU)
    counted = ask("messages.count_tokens", {"messages": [{"role": "user", "content": "one two"}]})
    for stream in (False, True):
        for call in (chat(stream=stream), message(stream=stream)):
            list(engine.open(ON_HAIKU, call))
        list(engine.open(ANY_MODEL, invoke(HAIKU, anthropic(), stream=stream)))
    list(engine.open(ON_HAIKU, counted))
    list(engine.open(FROM_EUROPE, chat()))
    by_calls = _permissions(served_bedrock)
    assert Catalogue(engine, monotonic_ms).models(ANY_MODEL)
    return Used(by_calls, _permissions(served_bedrock))


def _permissions(bedrock: LocalBedrock) -> set[str]:
    # A probe is no operation, and needs no permission.
    return {ALLOWED_BY.get(operation, f"bedrock:{operation}") for operation in bedrock.operations() if operation}


def policy(document: dict[str, Any]) -> dict[str, Any]:
    """As CloudFormation fills it in."""
    text = json.dumps(document).replace("${AWS::Partition}", "aws").replace("${AWS::AccountId}", ACCOUNT)
    values: dict[str, object] = {json.dumps({"Ref": "Regions"}): REGIONS}
    for name, arn in (("Caller", USER), ("Invoker", ROLE)):
        values[json.dumps({"Fn::GetAtt": [name, "Arn"]})] = arn
    for reference, value in values.items():
        text = text.replace(reference, json.dumps(value))
    found: dict[str, Any] = json.loads(text, object_hook=lambda part: part.get("Fn::Sub", part))
    return found


def commercial(resource: str) -> dict[str, Any]:
    return policy(template("commercial")["Resources"][resource]["Properties"]["PolicyDocument"])


def denied(resource: str, action: str, on: str, region: str = "us-east-1") -> bool:
    """Whether IAM refuses the call to somebody who has this one policy of infra/commercial.yaml."""
    identity = Identity((identity_policy(json.dumps(commercial(resource))),))
    caller = Caller(arn=USER, account=ACCOUNT, access_key_id="AKIAEXAMPLEEXAMPLE00")
    return identity.refusal(Call(caller, action, on, {}, {"aws:requestedregion": (region,)})) is not None


def test_commercial_stages_use_every_permission_of_bedrock_that_they_have_and_need_no_other(used: Used) -> None:
    for stage in ("dev", "prod"):
        for kind, needed in (("", used.in_all), ("-streaming", used.by_calls)):
            found = statements(f"policy-{stage}{kind}.json")
            actions = [action for statement in found for action in each(statement["Action"])]
            assert {action for action in actions if action.startswith("bedrock:")} == {*needed, GUARDRAILS}


@pytest.mark.parametrize("kind", ["", "-streaming"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_asks_guardrails_of_its_regions_and_changes_none(stage: str, kind: str) -> None:
    (allowed,) = [each_ for each_ in statements(f"policy-{stage}{kind}.json") if each_["Sid"] == "BedrockGuardrails"]
    assert allowed["Action"] == GUARDRAILS
    regions = REGIONS_OF_STAGES["gov" if stage.startswith("gov-") else "commercial"]
    assert allowed["Resource"] == [f"arn:*:bedrock:{region}:*:guardrail/*" for region in regions]


def test_the_role_in_bedrocks_account_uses_every_permission_that_it_has_and_needs_no_other(used: Used) -> None:
    allowed = [statement for statement in commercial("InvokePolicy")["Statement"] if statement["Effect"] == "Allow"]
    assert {action for statement in allowed for action in each(statement["Action"])} == used.in_all


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage.startswith("gov-")])
def test_a_govcloud_stage_may_run_no_model_of_its_own_and_reads_the_secret_that_is_made_for_it(stage: str) -> None:
    made = template("bedrock")["Resources"]["Credential"]["Properties"]["Name"]["Fn::Sub"].replace("${Stage}", stage)
    found = statements(f"policy-{stage}.json")
    actions = [action for statement in found for action in each(statement["Action"])]
    assert [action for action in actions if "bedrock:" in action] == [GUARDRAILS]
    assert not [action for action in actions if action.startswith("sts:")]
    (reads,) = [statement for statement in found if statement["Sid"] == "BedrockCredential"]
    assert reads["Action"] == "secretsmanager:GetSecretValue"
    assert reads["Resource"] == f"arn:*:secretsmanager:*:*:secret:{made}*"  # Secrets Manager adds six letters


@pytest.mark.parametrize(
    "on",
    [
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-x",
        f"arn:aws:bedrock:us-east-1:{ACCOUNT}:inference-profile/us.anthropic.claude-x",
        f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/abc123",
    ],
)
def test_the_role_invokes_models_and_profiles_in_its_regions_and_in_no_other(on: str) -> None:
    assert not denied("InvokePolicy", "bedrock:InvokeModel", on)
    elsewhere = on.replace("us-east-1", "eu-central-1")
    assert denied("InvokePolicy", "bedrock:InvokeModel", elsewhere, "eu-central-1")
    assert denied("InvokePolicy", "bedrock:InvokeModel", on, "unspecified")  # through a profile of any region


def test_the_role_uses_nothing_of_another_account_and_changes_nothing() -> None:
    theirs = "arn:aws:bedrock:us-east-1:999999999999:application-inference-profile/abc123"
    ours = theirs.replace("999999999999", ACCOUNT)
    assert denied("InvokePolicy", "bedrock:InvokeModel", theirs)
    assert denied("InvokePolicy", "bedrock:DeleteInferenceProfile", ours)
    assert denied("InvokePolicy", "iam:CreateAccessKey", USER)


def test_the_user_renews_their_own_key_and_assumes_the_one_role() -> None:
    for action in ("CreateAccessKey", "DeleteAccessKey", "ListAccessKeys", "UpdateAccessKey"):
        assert not denied("CallerPolicy", f"iam:{action}", USER)
        assert denied("CallerPolicy", f"iam:{action}", USER.replace("caller", "administrator"))
    assert not denied("CallerPolicy", "sts:AssumeRole", ROLE)
    assert denied("CallerPolicy", "sts:AssumeRole", ROLE.replace("invoker", "administrator"))
    assert denied("CallerPolicy", "bedrock:InvokeModel", "arn:aws:bedrock:us-east-1::foundation-model/any")


def test_nobody_but_the_user_is_trusted_with_the_role() -> None:
    role = template("commercial")["Resources"]["Invoker"]["Properties"]
    (trusted,) = policy(role["AssumeRolePolicyDocument"])["Statement"]
    assert (trusted["Principal"], trusted["Action"]) == ({"AWS": USER}, "sts:AssumeRole")


def test_the_stacks_hold_no_credential_and_keep_the_secret() -> None:
    secret = template("bedrock")["Resources"]["Credential"]
    assert set(secret["Properties"]) == {"Name", "Description"}
    assert (secret["DeletionPolicy"], secret["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert not [each_ for each_ in template("commercial")["Resources"].values() if "AccessKey" in each_["Type"]]


def test_the_rotation_may_touch_its_own_secret_only_and_secrets_manager_alone_may_start_it() -> None:
    resources = template("bedrock")["Resources"]
    (given,) = resources["RotateRole"]["Properties"]["Policies"]
    secret, _ = given["PolicyDocument"]["Statement"]
    permission = resources["RotatePermission"]["Properties"]
    assert secret["Resource"] == {"Ref": "Credential"}
    assert not [action for action in secret["Action"] if "*" in action]
    assert permission["Principal"] == "secretsmanager.amazonaws.com"
    assert permission["SourceAccount"] == {"Ref": "AWS::AccountId"}
    assert permission["SourceArn"] == {"Ref": "Credential"}


def test_the_rotation_function_is_the_code_that_is_tested() -> None:
    function = template("bedrock")["Resources"]["Rotate"]["Properties"]
    module, _, name = function["Handler"].partition(".")
    code = ROOT / "infra" / function["Code"] / f"{module}.py"
    assert f"def {name}(" in code.read_text()
