"""Bedrock's own runtime API on the wire: how it refuses, in the exceptions of AWS's SDKs."""

import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from chalicelib.admission.limits import Budget, Limits, Rate
from chalicelib.call import Delta, Started
from chalicelib.http import problems
from chalicelib.refusal import CONTEXT_LENGTH_EXCEEDED, EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal
from chalicelib.tenancy import Change
from tests.api import signing
from tests.api.bedrock_script import BODY, EVENTS, MODEL, WAYS, Caller, drawn, frames, refusal_of

every_way = pytest.mark.parametrize("way", WAYS)
STREAMS = [way for way in WAYS if "stream" in way]


@pytest.fixture
def caller(bedrock_caller: Caller) -> Caller:
    return bedrock_caller


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


BUCKET = {"s3Location": {"uri": "s3://the-operators/film.mp4"}}


@every_way
@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        {"mediaSource": BUCKET},
        {"messages": [{"role": "user", "content": [{"video": {"format": "mp4", "source": BUCKET}}]}]},
        {"singleEmbeddingParams": {"image": {"format": "png", "source": BUCKET}}},
        {"tomorrows": [[{"media": BUCKET}]]},
    ],
    ids=lambda body: next(iter(body)),
)
def test_nobody_reads_a_bucket_with_the_permissions_of_the_service(
    caller: Caller, way: str, body: dict[str, Any], escaped: bool
) -> None:
    text = json.dumps({**BODY, **body})
    refused = caller(way, (text.replace("s3L", "\\u00733L") if escaped else text).encode())
    assert refusal_of(refused) == (400, "ValidationException")
    assert "s3Location" in refused.json["message"]
    assert not caller.bedrock.calls


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"name": "fetch", "input_schema": {"type": "object", "properties": BUCKET}}]},
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "fetch", "input": BUCKET}]}]},
        {"messages": [{"role": "user", "content": "what is an s3Location?"}]},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_what_callers_and_models_say_to_each_other_is_their_own(caller: Caller, body: dict[str, Any]) -> None:
    assert caller("invoke", {**BODY, **body}).status == 200


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
        (Malformed("no", code=CONTEXT_LENGTH_EXCEEDED), (400, "ValidationException")),
        (NoCapacity("full"), (503, "ServiceUnavailableException")),
        (EngineTimedOut("slow"), (504, "ModelTimeoutException")),
        (EngineFailed("broke"), (503, "ServiceUnavailableException")),  # no other target is left
    ],
)
def test_what_the_engine_refuses_has_its_status_and_exception(
    caller: Caller, way: str, refusal: Refusal, exception: tuple[int, str]
) -> None:
    caller.bedrock.steps = (refusal,)
    refused = caller(way)
    assert refusal_of(refused) == exception
    assert ("Input is too long" in refused.json["message"]) == (refusal.code == CONTEXT_LENGTH_EXCEEDED)


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
    refused = caller("converse")
    assert refusal_of(refused) == (404, "ResourceNotFoundException")
    assert "Ask the operator of the service for one." in refused.json["message"]


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
