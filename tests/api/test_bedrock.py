"""Bedrock for signed callers: what reaches the engine, what the ledger keeps, and what is refused first."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from chalicelib import wiring
from chalicelib.call import Call, Delta, Finished, Started, Usage
from chalicelib.engines.bedrock.model import FoundationModel
from chalicelib.engines.scripted import Step
from chalicelib.ledger import Audited, Entry
from chalicelib.pool import Bedrock, Pool, Target
from chalicelib.refusal import EngineFailed
from chalicelib.tenancy import Change
from tests.small_deployments import T0, Answer, Deployment, Gateway, front, served

USER = "arn:aws-us-gov:iam::111122223333:user/analyst"
SESSION = "arn:aws-us-gov:sts::111122223333:assumed-role/Analysts/someone"
ROLE = "arn:aws-us-gov:iam::111122223333:role/Analysts"
BODY = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 32, "messages": [{"role": "user", "content": "hi"}]}
ASKED = {"modelId": "anthropic.claude-x", "body": BODY}
WHOLE = b'{"content":[{"type":"text","text":"hello"}],"usage":{"input_tokens":9,"output_tokens":2}}'
HAIKU = FoundationModel("anthropic.haiku", "Haiku", "Anthropic", ("TEXT", "IMAGE"), ("TEXT",), True, False, None)
NOVA = FoundationModel("amazon.nova", "Nova", "Amazon", ("TEXT",), ("TEXT",), True, True, "us.amazon.nova")


class BedrockCaller:
    """A deployment whose tenant reaches a scripted Bedrock, and a gateway that believes who signed."""

    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        self.calls: list[Call] = []
        self.arn: str | None = USER

    def says(self, _target: Target, call: Call) -> Iterable[Step]:
        self.calls.append(call)
        started = Started("bedrock", detail={"inference_profile": "us.anthropic.claude-x"})
        if call.model_id == "broken":
            return (started, Delta(b"{}", 1), EngineFailed("it broke"))
        return (started, Delta(WHOLE, 2), Finished(Usage(9, 2)))

    def invoke(self, asked: Any = ASKED, **headers: str) -> Answer:
        sent = {"Authorization": "AWS4-HMAC-SHA256 Credential=", **{k.replace("_", "-"): v for k, v in headers.items()}}
        return self.gateway.call("POST", "/v1/bedrock/invoke-model", json=asked, headers=sent)

    def models(self, query: str = "") -> Answer:
        headers = {"Authorization": "AWS4-HMAC-SHA256 Credential="}
        return self.gateway.call("GET", f"/v1/bedrock/models{query}", headers=headers)

    def entry(self) -> Entry:
        return self.deployment.store.ledger.page("acme", 0, T0 * 2, None, 1).entries[0]


@pytest.fixture
def bedrock() -> Iterator[BedrockCaller]:
    made: list[BedrockCaller] = []
    deployment = Deployment(script=lambda target, call: made[0].says(target, call))
    deployment.models = (HAIKU, NOVA)
    deployment.kinds = ("bedrock",)
    target = Bedrock("there", region="us-east-1")
    deployment.tenancy.put_pool(Pool("claude", (target,)))
    deployment.tenancy.put_pool(Pool("bedrock", (target,), operations=("invoke",)))
    deployment.tenant("acme", pools=("claude", "bedrock"))
    deployment.tenancy.principals.put("acme", (USER, ROLE))
    iam = lambda _signed: {"userArn": made[0].arn} if made[0].arn else {}  # noqa: E731
    with served(front(iam)) as gateway, wiring.opening_into(deployment.rooms()):
        made.append(BedrockCaller(gateway, deployment))
        yield made[0]


def test_the_models_own_answer_comes_back_as_it_is(bedrock: BedrockCaller) -> None:
    answer = bedrock.invoke()
    assert (answer.status, answer.body) == (200, WHOLE)
    (call,) = bedrock.calls
    assert (call.operation, call.pool, call.model_id, call.ceiling_tokens) == (
        "invoke",
        "bedrock",
        "anthropic.claude-x",
        32,
    )
    assert json.loads(bytes(call.fields["body"])) == BODY


@pytest.mark.parametrize("as_text", [True, False])
def test_nobody_reads_a_bucket_with_the_permissions_of_the_service(bedrock: BedrockCaller, as_text: bool) -> None:
    body = {"mediaSource": {"s3Location": {"uri": "s3://the-operators/film.mp4"}}}
    refused = bedrock.invoke({**ASKED, "body": json.dumps(body) if as_text else body})
    assert (refused.status, refused.json["field"]) == (400, "s3Location")


def test_the_body_may_be_text_as_the_sdks_take_it(bedrock: BedrockCaller) -> None:
    assert bedrock.invoke({**ASKED, "body": json.dumps(BODY)}).status == 200
    assert json.loads(bytes(bedrock.calls[0].fields["body"])) == BODY


@pytest.mark.parametrize(
    ("model", "body", "ceiling"),
    [
        ("anthropic.claude-x", {"max_tokens": 7}, 7),
        ("us.anthropic.claude-x", {"max_tokens": 7}, 7),
        ("meta.llama-x", {"prompt": "hi", "max_gen_len": 8}, 8),
        ("amazon.nova-x", {"inferenceConfig": {"maxTokens": 9}}, 9),
        ("amazon.nova-x", {"inferenceConfig": {"max_new_tokens": 10}}, 10),
        ("amazon.titan-text-x", {"inputText": "hi", "textGenerationConfig": {"maxTokenCount": 2_000}}, 2_000),
        ("openai.gpt-oss-x", {"max_completion_tokens": 11}, 11),
        ("unheard.of", {"max_gen_len": 12}, 12),
        ("anthropic.claude-x", {"prompt": "hi"}, 512),
    ],
)
def test_what_the_body_lets_the_model_generate_is_reserved(
    bedrock: BedrockCaller, model: str, body: dict[str, Any], ceiling: int
) -> None:
    assert bedrock.invoke({"modelId": model, "body": body}).status == 200
    assert bedrock.calls[0].ceiling_tokens == ceiling


def test_a_stream_is_the_models_own_chunks_and_says_when_they_are_all(bedrock: BedrockCaller) -> None:
    answer = bedrock.invoke({**ASKED, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body == b"data: " + WHOLE + b"\n\nevent: done\ndata: {}\n\n"


def test_a_stream_that_breaks_ends_with_the_refusal_and_is_never_done(bedrock: BedrockCaller) -> None:
    answer = bedrock.invoke({**ASKED, "modelId": "broken", "stream": True})
    assert b"event: error" in answer.body
    assert b"event: done" not in answer.body


def test_the_ledger_keeps_what_an_audit_needs(bedrock: BedrockCaller) -> None:
    sent = len(json.dumps(ASKED, separators=(",", ":")))
    bedrock.invoke(X_Data_Classification="cui")
    entry = bedrock.entry()
    assert entry.subject == USER
    assert (entry.tokens_in, entry.tokens_out, entry.tokens_cached) == (9, 2, 0)
    assert entry.audited == Audited(
        user_arn=USER,
        source_ip="127.0.0.1",
        source_partition="govcloud",
        destination_partition="commercial",
        model_id="anthropic.claude-x",
        inference_profile="us.anthropic.claude-x",
        request_bytes=sent,
        response_bytes=len(WHOLE),
        data_classification="cui",
    )


def test_a_call_that_fails_is_on_record_as_well(bedrock: BedrockCaller) -> None:
    assert bedrock.invoke({**ASKED, "modelId": "broken"}).status == 502
    entry = bedrock.entry()
    assert entry.audited is not None
    assert (entry.outcome, entry.reason, entry.audited.model_id) == ("failed", "EngineFailed", "broken")


def test_where_the_secret_says_the_region_the_audit_has_that_ones_partition(bedrock: BedrockCaller) -> None:
    def elsewhere(_target: Target, call: Call) -> Iterable[Step]:
        if call.model_id == "unreachable":
            return (EngineFailed("it broke"),)
        return (Started("x", detail={"region": "us-gov-west-1"}), Delta(WHOLE, 2), Finished(Usage(9, 2)))

    target = Bedrock("there", secret="elsewhere")
    bedrock.deployment.tenancy.put_pool(Pool("bedrock", (target,), operations=("invoke",)))
    bedrock.says = elsewhere  # type: ignore[method-assign]
    for model, partition in (("anthropic.claude-x", "govcloud"), ("unreachable", "")):
        bedrock.invoke({**ASKED, "modelId": model})
        audited = bedrock.entry().audited
        assert audited is not None
        assert audited.destination_partition == partition
        bedrock.deployment.clock.now_ms += 1


def test_a_session_of_a_role_is_that_roles_tenant(bedrock: BedrockCaller) -> None:
    bedrock.arn = SESSION
    assert bedrock.invoke().status == 200
    assert bedrock.entry().subject == SESSION


def test_whoever_is_no_tenants_principal_is_told_whom_to_ask(bedrock: BedrockCaller) -> None:
    for arn, words in ((USER + "2", "belongs to no tenant"), (None, "Sign this request")):
        bedrock.arn = arn
        for refused in (bedrock.invoke(), bedrock.models()):
            assert (refused.status, words in refused.json["detail"]) == (403, True)
    assert not bedrock.calls


def test_a_tenant_without_a_pool_of_bedrocks_is_told_whom_to_ask(bedrock: BedrockCaller) -> None:
    bedrock.deployment.tenancy.change_tenant("acme", Change(pools=("claude",)))
    for refused in (bedrock.invoke(), bedrock.models()):
        assert refused.status == 404
        assert "Ask the operator of the service for one." in refused.json["detail"]
    assert not bedrock.calls


def test_a_principal_that_was_taken_away_is_refused_on_the_next_request(bedrock: BedrockCaller) -> None:
    assert bedrock.invoke().status == 200
    bedrock.deployment.tenancy.principals.put("acme", (ROLE,))
    assert bedrock.invoke().status == 403


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"modelId": ""}, "modelId"),
        ({"body": "not json"}, "body"),
        ({"body": "[1]"}, "body"),
        ({"body": {"max_tokens": -1}}, "max_tokens"),
        ({"contentType": "image/png"}, "contentType"),
        ({"temperature": 1}, "temperature"),
    ],
)
def test_what_makes_no_sense_is_refused_before_bedrock_hears_of_it(
    bedrock: BedrockCaller, wrong: dict[str, Any], word: str
) -> None:
    refused = bedrock.invoke({**ASKED, **wrong})
    assert (refused.status, word in refused.body.decode()) == (400, True), refused.body
    assert not bedrock.calls


def test_more_than_the_pool_generates_is_lowered_to_it(bedrock: BedrockCaller) -> None:
    assert bedrock.invoke({**ASKED, "body": {**BODY, "max_tokens": 1_000_000}}).status == 200
    assert bedrock.calls[0].ceiling_tokens == Pool("", ()).max_tokens


def test_a_body_over_the_limit_is_too_large(bedrock: BedrockCaller) -> None:
    refused = bedrock.invoke({**ASKED, "body": {"prompt": "x" * 25_000_000}})
    assert refused.status == 413


def test_models_are_listed_by_what_they_can(bedrock: BedrockCaller) -> None:
    def ids(query: str = "") -> list[str]:
        return [model["modelId"] for model in bedrock.models(query).json["models"]]

    assert ids() == ["anthropic.haiku", "amazon.nova"]
    assert ids("?provider=anthropic") == ids("?modality=image") == ids("?needsProfile=false") == ["anthropic.haiku"]
    assert bedrock.models("?needsProfile=maybe").status == 400
    assert bedrock.models().json["models"][1] == {
        "modelId": "amazon.nova",
        "name": "Nova",
        "provider": "Amazon",
        "inputModalities": ["TEXT"],
        "outputModalities": ["TEXT"],
        "streams": True,
        "needsProfile": True,
        "inferenceProfile": "us.amazon.nova",
    }


def test_a_tenant_without_a_pool_for_it_is_told_so(bedrock: BedrockCaller) -> None:
    bedrock.deployment.tenant("bolt", pools=("claude",))
    other = USER.replace("analyst", "bolt")
    bedrock.deployment.tenancy.principals.put("bolt", (other,))
    bedrock.arn = other
    assert bedrock.invoke().status == 404
    assert bedrock.models().status == 404
