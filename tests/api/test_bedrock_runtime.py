"""Bedrock's own runtime API on the wire: what reaches the engine, what comes back, and how it is refused."""

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from botocore.eventstream import EventStreamBuffer, EventStreamMessage

from app import app
from chalicelib import wiring
from chalicelib.admission.limits import Budget, Limits, Rate
from chalicelib.call import Delta, Started
from chalicelib.http import problems
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal
from chalicelib.tenancy import Change
from tests.api import signing
from tests.api.bedrock_script import CONVERSED, EVENTS, MESSAGE, MODEL, PIECES, ScriptedBedrock, chunk_of, drawn
from tests.small_deployments import T0, Answer, Gateway, front, served

WAYS = ("invoke", "invoke-with-response-stream", "converse", "converse-stream")
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
PROFILE_ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"
every_way = pytest.mark.parametrize("way", WAYS)
every_door = pytest.mark.parametrize("door", ["signed", "keyed"])
STREAMS = [way for way in WAYS if "stream" in way]


class Caller:
    """Calls by either door."""

    def __init__(self, gateway: Gateway, bedrock: ScriptedBedrock) -> None:
        self.gateway = gateway
        self.bedrock = bedrock
        self.key = bedrock.deployment.key()

    def __call__(
        self,
        way: str,
        body: Any = BODY,
        *,
        door: str = "keyed",
        model: str = quote(MODEL, safe=""),
        headers: dict[str, str] | None = None,
    ) -> Answer:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        sent = {"Content-Type": "application/json", "X-Request-ID": "r-1", **(headers or {})}
        if door == "signed":
            return signing.call(self.gateway, "POST", f"/v1/bedrock/model/{model}/{way}", content, sent)
        path = f"/tenants/acme/v1/bedrock/model/{model}/{way}"
        return self.gateway.call("POST", path, key=self.key, body=content, headers=sent)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with served(front(signing.IAM)) as gateway:
        yield gateway


@pytest.fixture
def bedrock() -> Iterator[ScriptedBedrock]:
    bedrock = ScriptedBedrock()
    with wiring.opening_into(bedrock.deployment.rooms()):
        yield bedrock


@pytest.fixture
def caller(gateway: Gateway, bedrock: ScriptedBedrock) -> Caller:
    return Caller(gateway, bedrock)


def frames(answer: Answer) -> list[EventStreamMessage]:
    assert answer.headers["content-type"] == "application/vnd.amazon.eventstream"
    buffer = EventStreamBuffer()
    buffer.add_data(answer.body)
    return list(buffer)


def events(answer: Answer) -> list[Any]:
    """Those of ConverseStream as SDKs show them; of a model's own stream, what it says."""
    told = [(each.headers[":event-type"], each.payload) for each in frames(answer)]
    return [chunk_of(payload) if kind == "chunk" else {kind: json.loads(payload)} for kind, payload in told]


# What is answered


@every_door
def test_answers_are_bedrocks_own_byte_for_byte(caller: Caller, door: str) -> None:
    for way, said in (("invoke", MESSAGE), ("converse", CONVERSED)):
        answer = caller(way, door=door)
        assert (answer.status, answer.body) == (200, msgspec.json.encode(said))
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-amzn-requestid"] == answer.headers["x-request-id"] == "r-1"
        assert answer.headers["x-amzn-bedrock-input-token-count"] == "9"
        assert answer.headers["x-amzn-bedrock-output-token-count"] == "2"


@every_door
def test_streams_are_bedrocks_own_events(caller: Caller, door: str) -> None:
    assert events(caller("invoke-with-response-stream", door=door)) == list(PIECES)
    assert events(caller("converse-stream", door=door)) == list(EVENTS)


@every_way
def test_what_reaches_the_engine_is_the_callers_body_and_the_model_of_its_path(caller: Caller, way: str) -> None:
    assert caller(way, {**BODY, "tomorrows": [1.5]}).status == 200
    (call,) = caller.bedrock.calls
    assert (call.operation, call.stream) == (way.partition("-")[0], "stream" in way)
    assert (call.pool, call.model_id) == ("bedrock", MODEL)
    assert caller.bedrock.asked == {**BODY, "tomorrows": [1.5]}


@every_way
def test_usage_and_audit_are_in_the_ledger(caller: Caller, way: str) -> None:
    caller(way, headers={"X-Data-Classification": "cui"}, door="signed")
    (entry,) = caller.bedrock.deployment.store.ledger.page("acme", 0, T0 * 2, None, 9).entries
    assert (entry.outcome, entry.operation, entry.used.tokens) == ("completed", way.partition("-")[0], 11)
    assert entry.audited is not None
    assert (entry.audited.user_arn, entry.audited.model_id) == (signing.OWNER.arn, MODEL)
    assert (entry.audited.tokens_in, entry.audited.tokens_out, entry.audited.data_classification) == (9, 2, "cui")


@every_door
@every_way
@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("anthropic.claude-opus-4-1-20250805-v1%3A0", MODEL),
        ("anthropic.claude-opus-4-1-20250805-v1%3a0", MODEL),
        ("anthropic.claude-opus-4-1-20250805-v1:0", MODEL),
        ("us.anthropic.claude-opus-4-1-20250805-v1%3A0", f"us.{MODEL}"),
        (quote(PROFILE_ARN, safe=""), PROFILE_ARN),
        ("%C3%A9", "é"),
        ("%2F..%2Fx", "/../x"),
        ("models", "models"),
    ],
)
def test_a_model_is_named_in_the_path_however_it_is_encoded(
    caller: Caller, way: str, door: str, model: str, named: str
) -> None:
    answer = caller(way, model=model, door=door)
    assert answer.status == 200, answer.body
    assert caller.bedrock.calls[0].model_id == named


@pytest.mark.parametrize("encoded", [False, True], ids=["decoded", "as it came"])
@every_way
def test_api_gateway_may_hand_on_the_path_decoded_or_not(bedrock: ScriptedBedrock, way: str, encoded: bool) -> None:
    """And what Lambda answers at once is binary, where it is."""
    template = f"/tenants/{{tenant}}/v1/bedrock/model/{{model}}/{way}"
    headers = {"Authorization": f"Bearer {bedrock.deployment.key()}", "Content-Type": "application/json"}
    event = {
        "resource": template,
        "path": template.format(tenant="acme", model=quote(PROFILE_ARN, safe="")),
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"tenant": "acme", "model": quote(PROFILE_ARN, safe="") if encoded else PROFILE_ARN},
        "stageVariables": None,
        "requestContext": {"resourcePath": template, "httpMethod": "POST", "identity": {"userArn": None}},
        "body": base64.b64encode(json.dumps(BODY).encode()).decode(),
        "isBase64Encoded": True,
    }
    answer = app(event, None)
    assert (answer["statusCode"], bedrock.calls[0].model_id) == (200, PROFILE_ARN)
    if "stream" not in way:
        assert json.loads(answer["body"])["usage"]
        return
    assert answer["isBase64Encoded"] is True
    buffer = EventStreamBuffer()
    buffer.add_data(base64.b64decode(answer["body"]))
    assert len(list(buffer)) == len(PIECES if way.startswith("invoke") else EVENTS)


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/json; charset=utf-8", None])
def test_a_models_own_body_is_json_whatever_an_sdk_calls_it(caller: Caller, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = caller.gateway.call(
        "POST", f"/tenants/acme/v1/bedrock/model/{MODEL}/invoke", key=caller.key, body=b"{}", headers=headers
    )
    assert answer.status == 200, answer.body


def test_an_api_key_may_come_as_a_header_of_its_own(caller: Caller) -> None:
    path = f"/tenants/acme/v1/bedrock/model/{MODEL}/converse"
    assert caller.gateway.call("POST", path, json=BODY, headers={"X-API-Key": caller.key}).status == 200


# What is reserved


@pytest.mark.parametrize(
    ("way", "body", "ceiling"),
    [
        ("invoke", {"max_tokens": 7}, 7),
        ("invoke-with-response-stream", {"max_tokens": 7}, 7),
        ("converse", {"inferenceConfig": {"maxTokens": 7}}, 7),
        ("converse-stream", {"inferenceConfig": {"maxTokens": 7}}, 7),
        ("converse", {"additionalModelRequestFields": {"max_tokens": 8}}, 8),
        ("converse", {}, 512),
        ("invoke", {}, 512),
    ],
)
def test_what_the_body_lets_the_model_generate_is_reserved(caller: Caller, way: str, body: Any, ceiling: int) -> None:
    assert caller(way, {**BODY, **body}).status == 200
    assert caller.bedrock.calls[0].ceiling_tokens == ceiling


@every_way
def test_more_than_the_pool_generates_is_refused(caller: Caller, way: str) -> None:
    most = {"max_tokens": 100_000} if way.startswith("invoke") else {"inferenceConfig": {"maxTokens": 100_000}}
    refused = caller(way, {**BODY, **most})
    assert refusal_of(refused) == (400, "ValidationException")
    assert "100000" in refused.json["message"]


# What is refused


def refusal_of(answer: Answer) -> tuple[int, str]:
    """Its status and its exception, which stands wherever one of AWS's SDKs looks for it."""
    said = answer.json
    assert answer.headers["content-type"] == "application/json"
    assert said["__type"] == said["code"] == answer.headers["x-amzn-errortype"]
    assert said["message"]
    assert said["request_id"] == answer.headers["x-amzn-requestid"] == "r-1"
    return answer.status, said["__type"]


@every_way
@pytest.mark.parametrize(
    "body", [b"[1]", b"{", b'"text"', b"\xff", {"inferenceConfig": {"maxTokens": 0}, "max_tokens": 0}], ids=repr
)
def test_what_makes_no_sense_is_a_validation_exception_before_bedrock_hears_of_it(
    caller: Caller, way: str, body: Any
) -> None:
    assert refusal_of(caller(way, body)) == (400, "ValidationException")
    assert not caller.bedrock.calls


@pytest.mark.parametrize(
    ("way", "body", "headers", "word"),
    [
        ("converse", {"guardrailConfig": {"guardrailIdentifier": "g"}}, {}, "guardrailConfig"),
        ("converse-stream", {"serviceTier": {"type": "priority"}}, {}, "serviceTier"),
        ("invoke", {}, {"X-Amzn-Bedrock-GuardrailIdentifier": "g"}, "guardrailidentifier"),
        ("invoke", {}, {"X-Amzn-Bedrock-Service-Tier": "priority"}, "service-tier"),
        ("invoke-with-response-stream", {}, {"X-Amzn-Bedrock-PerformanceConfig-Latency": "optimized"}, "latency"),
        ("converse", {}, {"Content-Type": "text/plain"}, "text/plain"),
        ("invoke", {}, {"Content-Type": "image/png"}, "image/png"),
        ("converse", {}, {"X-Data-Classification": "top-secret"}, "X-Data-Classification"),
    ],
)
def test_what_is_not_the_callers_to_ask_for_is_refused_by_name(
    caller: Caller, way: str, body: Any, headers: dict[str, str], word: str
) -> None:
    refused = caller(way, {**BODY, **body}, headers=headers)
    assert refusal_of(refused) == (400, "ValidationException")
    assert word in refused.json["message"]
    assert not caller.bedrock.calls


def test_what_is_the_same_as_nothing_is_not(caller: Caller) -> None:
    headers = {"X-Amzn-Bedrock-Service-Tier": "default", "X-Amzn-Bedrock-PerformanceConfig-Latency": "standard"}
    assert caller("invoke", headers={**headers, "X-Amzn-Bedrock-Trace": "DISABLED", "Accept": "*/*"}).status == 200


def test_every_refusal_is_an_exception_that_bedrocks_runtime_has() -> None:
    assert set(problems.EXCEPTIONS) == set(problems.KINDS)


@every_way
@pytest.mark.parametrize(
    ("refusal", "exception"),
    [
        (Malformed("no"), (400, "ValidationException")),
        (NoCapacity("full"), (503, "ServiceUnavailableException")),
        (EngineTimedOut("slow"), (504, "ModelTimeoutException")),
        (EngineFailed("broke"), (503, "ServiceUnavailableException")),  # no other target is left
    ],
)
def test_what_the_engine_refuses_has_its_status_and_exception(
    caller: Caller, way: str, refusal: Refusal, exception: tuple[int, str]
) -> None:
    caller.bedrock.steps = (refusal,)
    assert refusal_of(caller(way)) == exception


@pytest.mark.parametrize("way", ["invoke", "converse"])
def test_an_answer_that_breaks_is_no_answer(caller: Caller, way: str) -> None:
    caller.bedrock.steps = (Started("there"), drawn({"a": {}}), EngineFailed("broke"))
    assert refusal_of(caller(way)) == (502, "ModelErrorException")


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize(
    ("refusal", "exception"),
    [
        (Malformed("no"), "validationException"),
        (NoCapacity("full"), "serviceUnavailableException"),
        (EngineFailed("broke"), "modelStreamErrorException"),
        (EngineTimedOut("slow"), "modelStreamErrorException"),
    ],
)
def test_a_stream_that_breaks_ends_with_an_exception(
    caller: Caller, way: str, refusal: Refusal, exception: str
) -> None:
    caller.bedrock.steps = (Started("there"), drawn(EVENTS[1], 1), refusal)
    *_, last = frames(caller(way))
    assert last.headers[":message-type"] == "exception"
    assert last.headers[":exception-type"] == exception
    assert json.loads(last.payload)["message"] == refusal.text
    assert caller.bedrock.deployment.engine.running == 0


def test_a_fault_of_ours_in_a_stream_keeps_its_text_to_itself(caller: Caller) -> None:
    caller.bedrock.steps = (Started("there"), Delta(b"no json", 1))
    *_, last = frames(caller("converse-stream"))
    assert last.headers[":exception-type"] == "internalServerException"
    assert json.loads(last.payload)["message"] == problems.FAULT_TEXT


@every_way
def test_a_quota_is_not_tried_again(caller: Caller, way: str) -> None:
    """By 429, an SDK would, for a window that may end next month."""
    for source in ("plan", "tenant"):
        budget = Budget("month", "requests", 1, "month", True, source)
        caller.bedrock.deployment.tenancy.change_tenant("acme", Change(limits=Limits((), (budget,), 8)))
        caller(way)
        assert refusal_of(caller(way)) == (400, "ServiceQuotaExceededException")


@every_way
def test_a_limit_is_throttling_and_is_named(caller: Caller, way: str) -> None:
    rate = Rate("second", "requests", count=1, period_ms=60_000, burst=2)
    caller.bedrock.deployment.tenancy.change_tenant("acme", Change(limits=Limits((rate,), (), 8)))
    *_, refused = (caller(way) for _ in range(3))
    assert refusal_of(refused) == (429, "ThrottlingException")
    assert (refused.json["limit"], "retry-after" in refused.headers) == ("second", True)


@every_way
def test_nobody_comes_in_without_a_key_or_with_anothers(caller: Caller, way: str) -> None:
    path = f"/tenants/acme/v1/bedrock/model/{MODEL}/{way}"
    headers = {"X-Request-ID": "r-1"}
    nobody = caller.gateway.call("POST", path, json=BODY, headers=headers)
    assert refusal_of(nobody) == (401, "AccessDeniedException")
    caller.bedrock.deployment.tenant("bolt", pools=("bedrock",))
    other = caller.gateway.call("POST", path.replace("acme", "bolt"), key=caller.key, json=BODY, headers=headers)
    assert refusal_of(other) == (404, "ResourceNotFoundException")
    viewer = caller.bedrock.deployment.key("acme", "viewer")
    looking = caller.gateway.call("POST", path, key=viewer, json=BODY, headers=headers)
    assert refusal_of(looking) == (403, "AccessDeniedException")
    assert not caller.bedrock.calls


@every_way
def test_who_finds_neither_way_in_is_told_both(caller: Caller, way: str) -> None:
    path = f"/v1/bedrock/model/{quote(MODEL, safe='')}/{way}"
    url, body = f"{caller.gateway.base_url}{path}", msgspec.json.encode(BODY)
    as_bedrocks = signing.signed("POST", url, body, {"X-Request-ID": "r-1"}, service="bedrock")
    with_a_key = {"X-Request-ID": "r-1", "Authorization": f"Bearer {caller.key}"}
    for headers in (as_bedrocks, with_a_key, {"X-Request-ID": "r-1"}):
        refused = caller.gateway.call("POST", path, body=body, headers=headers)
        assert refusal_of(refused) == (403, "AccessDeniedException")
        for word in ("execute-api", "signing_name", "/tenants/{tenant}/v1/bedrock", "AWS_BEARER_TOKEN_BEDROCK"):
            assert word in refused.json["message"]
    assert not caller.bedrock.calls


def test_a_tenant_without_bedrock_is_told_so(caller: Caller) -> None:
    caller.bedrock.deployment.tenancy.change_tenant("acme", Change(pools=()))
    assert refusal_of(caller("converse")) == (404, "ResourceNotFoundException")


@every_way
def test_a_body_over_the_limit_is_a_validation_exception(caller: Caller, way: str) -> None:
    assert refusal_of(caller(way, b'{"a":"%s"}' % (b"x" * 6_000_000))) == (413, "ValidationException")


@every_way
def test_a_model_id_longer_than_any_is_refused(caller: Caller, way: str) -> None:
    assert refusal_of(caller(way, model="x" * 2_049)) == (400, "ValidationException")


@every_way
def test_a_repeated_key_against_a_second_charge_is_a_conflict(caller: Caller, way: str) -> None:
    headers = {"Idempotency-Key": "once"}
    assert caller(way, headers=headers).status == 200
    assert refusal_of(caller(way, headers=headers)) == (409, "ConflictException")
