"""Bedrock's own runtime API on the wire: what reaches the engine, and what comes back."""

import base64
import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from botocore.eventstream import EventStreamBuffer

from app import app
from chalicelib.pool import Pool
from tests import api_gateway
from tests.api import signing
from tests.api.bedrock_script import (
    BODY,
    CONVERSED,
    EVENTS,
    MESSAGE,
    MODEL,
    PIECES,
    WAYS,
    Caller,
    events,
)
from tests.small_deployments import T0

PROFILE_ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"
every_way = pytest.mark.parametrize("way", WAYS)
every_door = pytest.mark.parametrize("door", ["signed", "keyed"])


@pytest.fixture
def caller(bedrock_caller: Caller) -> Caller:
    return bedrock_caller


# What is answered


@every_door
def test_answers_are_bedrocks_own_byte_for_byte(caller: Caller, door: str) -> None:
    for way, said in (("invoke", MESSAGE), ("converse", CONVERSED)):
        answer = caller(way, door=door)
        assert (answer.status, answer.body) == (200, msgspec.json.encode(said))
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-amzn-requestid"] == answer.headers["x-request-id"] == "r-1"
        assert answer.headers["x-amzn-bedrock-input-token-count"] == "9"
        assert answer.headers["x-amzn-bedrock-cache-read-input-token-count"] == "0"
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
    assert (entry.tokens_in, entry.tokens_out, entry.audited.data_classification) == (9, 2, "cui")


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
def test_api_gateway_may_hand_on_the_path_decoded_or_not(caller: Caller, way: str, encoded: bool) -> None:
    """And what Lambda answers at once is binary, where it is."""
    template = f"/tenants/{{tenant}}/v1/bedrock/model/{{model}}/{way}"
    headers = {"Authorization": f"Bearer {caller.key}", "Content-Type": "application/json"}
    written = quote(PROFILE_ARN, safe="")
    event = api_gateway.event(
        "POST",
        template,
        {"tenant": "acme", "model": written if encoded else PROFILE_ARN},
        path=template.format(tenant="acme", model=written),
        headers=headers,
        body=base64.b64encode(json.dumps(BODY).encode()).decode(),
        encoded=True,
    )
    answer = app(event, None)
    assert (answer["statusCode"], caller.bedrock.calls[0].model_id) == (200, PROFILE_ARN)
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
def test_more_than_the_pool_generates_is_lowered_to_it(caller: Caller, way: str) -> None:
    most = {"max_tokens": 100_000} if way.startswith("invoke") else {"inferenceConfig": {"maxTokens": 100_000}}
    assert caller(way, {**BODY, **most}).status == 200
    assert caller.bedrock.calls[0].ceiling_tokens == Pool("", ()).max_tokens


@pytest.mark.parametrize("way", ["converse", "converse-stream"])
def test_an_image_weighs_by_what_it_is_and_not_by_its_bytes(caller: Caller, way: str) -> None:
    image = {"format": "jpeg", "source": {"bytes": base64.b64encode(bytes(800_000)).decode()}}
    assert caller(way, {"messages": [{"role": "user", "content": [{"image": image}]}]}).status == 200
    assert caller.bedrock.calls[0].prompt_tokens < 20_000
