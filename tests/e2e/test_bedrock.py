"""Bedrock across the partition, on the running system: signed callers, the official SDKs, and what can go wrong."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import boto3
import openai
import pytest
import requests
from anthropic import Anthropic
from openai import OpenAI

from tests.e2e.local_bedrock import calls, command
from tests.e2e.test_signed import gateway, govcloud
from tests.emulators.iam.signers import Asked, by_botocore
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"  # on demand
SONNET = "anthropic.claude-sonnet-4-20250514-v1:0"  # by a profile only
QUESTION: Any = [{"role": "user", "content": "What is Cloister?"}]
BODY = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 24, "messages": QUESTION}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class Caller:
    """A GovCloud client of the demo tenant."""

    def __init__(self, system: RunningSystem) -> None:
        self.system = system
        self._keys, self._where = govcloud(system), gateway(system)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = b"" if body is None else json.dumps(body).encode()
        asked = Asked(method, path, content, {"Content-Type": "application/json", **named})
        return by_botocore(self._keys, asked, self._where)

    def invoke(self, model: str, body: Any = BODY, *, stream: bool = False, **headers: str) -> Any:
        asked = {"modelId": model, "body": body, "stream": stream}
        return self("POST", "/v1/bedrock/invoke-model", asked, **headers)

    def record(self, request_id: str) -> dict[str, Any]:
        """Of one request, in the audit log."""
        log = self("GET", "/v1/dashboard/requests?limit=100").json["requests"]
        (found,) = [each for each in log if each["requestId"] == request_id]
        return dict(found)


@pytest.fixture
def caller(running_system: RunningSystem) -> Iterator[Caller]:
    command(running_system, do="reset")
    yield Caller(running_system)
    command(running_system, do="reset")


def openai_client(system: RunningSystem, retries: int = 0) -> OpenAI:
    base = f"{system.base_url}/tenants/{system.tenant}/v1"
    return OpenAI(base_url=base, api_key=system.api_key, max_retries=retries, timeout=PATIENCE_S)


@pytest.mark.parametrize("model", [HAIKU, SONNET])
def test_a_signed_caller_gets_the_models_own_answer_and_is_on_record(caller: Caller, model: str) -> None:
    request_id = f"gov-{secrets.token_hex(6)}"
    answer = caller.invoke(model, X_Request_ID=request_id, X_Data_Classification="cui")
    assert answer.status == 200, answer.body
    assert "Cloister" in answer.json["content"][0]["text"]
    record = caller.record(request_id)
    assert record["userArn"] == "arn:aws-us-gov:iam::123456789012:user/cloister-govcloud-client"
    assert (record["sourcePartition"], record["destinationPartition"]) == ("govcloud", "commercial")
    assert (record["modelId"], record["statusCode"], record["success"]) == (model, 200, True)
    assert (record["tokensIn"], record["tokensOut"]) == tuple(
        answer.json["usage"][f"{way}put_tokens"] for way in ("in", "out")
    )
    assert (record["responseSize"], record["dataClassification"]) == (len(answer.body), "cui")
    assert record["inferenceProfile"] == ("" if model == HAIKU else f"us.{SONNET}")


def test_a_profile_is_looked_for_once(caller: Caller) -> None:
    for _ in range(3):
        assert caller.invoke(SONNET).status == 200
    before = len(calls(caller.system))
    assert caller.invoke(SONNET).status == 200
    assert len(calls(caller.system)) == before + 1


def test_a_stream_is_the_models_own_events(caller: Caller) -> None:
    answer = caller.invoke(SONNET, stream=True)
    events = [json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: ")]
    assert [event.get("type") for event in events[:1]] == ["message_start"]
    assert events[-2]["type"] == "message_stop"
    assert answer.body.endswith(b"event: done\ndata: {}\n\n")


def test_models_say_which_profile_they_need(caller: Caller) -> None:
    answer = caller("GET", "/v1/bedrock/models?provider=Anthropic&needsProfile=true")
    models = {model["modelId"]: model for model in answer.json["models"]}
    assert models[SONNET]["inferenceProfile"] == f"us.{SONNET}"
    assert HAIKU not in models


@pytest.mark.parametrize(
    ("asked", "status", "word"),
    [
        ({"modelId": "anthropic.no-such-model-v9:9", "body": BODY}, 400, "model"),
        ({"modelId": HAIKU, "body": {"prompt": "for another model"}}, 400, ""),
        ({"modelId": SONNET, "body": BODY, "inferenceProfile": f"eu.{SONNET}"}, 400, "geography"),
    ],
)
def test_what_bedrock_would_not_take_is_a_clear_refusal_with_the_request_id(
    caller: Caller, asked: Any, status: int, word: str
) -> None:
    refused = caller("POST", "/v1/bedrock/invoke-model", asked, X_Request_ID="gov-refused")
    assert (refused.status, refused.json["request_id"]) == (status, "gov-refused"), refused.body
    assert word in refused.json["detail"]


def test_what_passes_is_waited_for_and_what_does_not_pass_is_said(caller: Caller) -> None:
    command(caller.system, do="fail", error="ThrottlingException", times=2)
    assert caller.invoke(HAIKU).status == 200
    command(caller.system, do="fail", error="ThrottlingException", times=None)
    refused = caller.invoke(HAIKU)
    assert (refused.status, "retry-after" in refused.headers) == (503, True)


def test_a_stream_that_bedrock_cuts_ends_with_a_refusal(caller: Caller) -> None:
    command(caller.system, do="cut", after_events=3)
    answer = caller.invoke(HAIKU, stream=True)
    assert b"event: error" in answer.body
    assert b"event: done" not in answer.body


def test_a_rotated_key_needs_no_redeployment_and_no_key_is_in_any_log(caller: Caller) -> None:
    system = caller.system
    manager = boto3.client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url=system.env["AWS_ENDPOINT_URL"],
        aws_access_key_id=system.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=system.env["AWS_SECRET_ACCESS_KEY"],
    )
    held = json.loads(manager.get_secret_value(SecretId="cloister-local-bedrock")["SecretString"])
    new = {**held, "bedrock_api_key": f"rotated-{secrets.token_urlsafe(24)}"}
    assert caller.invoke(HAIKU).status == 200
    command(system, do="accept", bearer={"key": new["bedrock_api_key"]})
    command(system, do="expire", key=held["bedrock_api_key"])
    try:
        assert caller.invoke(HAIKU).status in (502, 503)  # the secret still holds the old one
        manager.put_secret_value(SecretId="cloister-local-bedrock", SecretString=json.dumps(new))
        assert caller.invoke(HAIKU).status == 200
    finally:
        command(system, do="accept", bearer={"key": held["bedrock_api_key"]})
    logs = "".join(path.read_text(errors="replace") for path in (system.state_dir / "logs").iterdir())
    log = json.dumps(caller("GET", "/v1/dashboard/requests?limit=100").json)
    for key in (held["bedrock_api_key"], new["bedrock_api_key"]):
        assert key not in logs
        assert key not in log
    command(system, do="accept", bearer={"key": new["bedrock_api_key"]})
    manager.put_secret_value(SecretId="cloister-local-bedrock", SecretString=json.dumps(held))


@pytest.mark.parametrize("pool", ["claude", "nova"])
def test_the_openai_sdk_chats_with_bedrock(caller: Caller, pool: str) -> None:
    client = openai_client(caller.system)
    answer = client.chat.completions.create(model=pool, messages=QUESTION, max_tokens=24)
    assert "Cloister" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    stream = list(
        client.chat.completions.create(
            model=pool, messages=QUESTION, max_tokens=24, stream=True, stream_options={"include_usage": True}
        )
    )
    said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert said == answer.choices[0].message.content
    assert stream[-1].usage == answer.usage


def test_a_chat_that_leaves_for_bedrock_is_on_record_as_such_and_one_that_stays_is_not(caller: Caller) -> None:
    for pool, destination in (("claude", "commercial"), ("demo", "")):
        request_id = f"chat-{secrets.token_hex(6)}"
        openai_client(caller.system).chat.completions.create(
            model=pool,
            messages=QUESTION,
            max_tokens=8,
            extra_headers={"X-Request-ID": request_id, "X-Data-Classification": "internal"},
        )
        record = caller.record(request_id)
        assert record["destinationPartition"] == destination
        assert (record["modelId"], record["tokensOut"]) == (SONNET if destination else pool, 8)
        assert record["dataClassification"] == ("internal" if destination else "")


def test_tools_images_and_json_reach_bedrock_through_the_openai_sdk(caller: Caller) -> None:
    client = openai_client(caller.system)
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
    command(caller.system, do="say", blocks=[{"tool": "weather", "input": {"city": "Bern"}}])
    asked = client.chat.completions.create(model="claude", messages=QUESTION, tools=[tool], max_tokens=64)
    (made,) = asked.choices[0].message.tool_calls or []
    assert asked.choices[0].finish_reason == "tool_calls"
    assert made.type == "function"
    assert json.loads(made.function.arguments) == {"city": "Bern"}
    turns: Any = [
        *QUESTION,
        {"role": "assistant", "tool_calls": [made.model_dump()]},
        {"role": "tool", "tool_call_id": made.id, "content": "rain"},
    ]
    assert client.chat.completions.create(model="claude", messages=turns, tools=[tool], max_tokens=8).choices
    image: Any = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]
    shown = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *image]}]
    assert client.chat.completions.create(model="claude", messages=shown, max_tokens=8).choices
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="claude", messages=QUESTION, max_tokens=8, n=2)


@pytest.mark.parametrize("pool", ["claude", "nova"])
def test_completions_reach_bedrock_through_the_openai_sdk(caller: Caller, pool: str) -> None:
    client = openai_client(caller.system)
    answer = client.completions.create(model=pool, prompt="What is Cloister?", max_tokens=24)
    assert "Cloister" in answer.choices[0].text
    assert answer.usage and answer.usage.completion_tokens
    chunks = client.completions.create(model=pool, prompt="What is Cloister?", max_tokens=24, stream=True)
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == answer.choices[0].text
    with pytest.raises(openai.BadRequestError, match="echo"):
        client.completions.create(model=pool, prompt="What is Cloister?", max_tokens=24, echo=True)


@pytest.mark.parametrize("pool", ["claude", "nova"])
@pytest.mark.parametrize("door", ["openai", "native"])
def test_a_session_that_began_elsewhere_goes_on_at_every_door(caller: Caller, pool: str, door: str) -> None:
    call = {"id": "functions.Bash:0|fc", "type": "function", "function": {"name": "files/read", "arguments": '{"a":'}}
    turns: Any = [
        {"role": "assistant", "content": "Welcome!"},
        {"role": "user", "content": [{"type": "text", "text": " "}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": ""},
    ]
    if door == "openai":
        client = openai_client(caller.system)
        assert client.chat.completions.create(model=pool, messages=turns, max_tokens=8, stop=["", "END"]).choices
        with pytest.raises(openai.BadRequestError, match="logprobs"):
            client.chat.completions.create(model=pool, messages=turns, max_tokens=8, logprobs=True)
        return
    headers = {"Authorization": f"Bearer {caller.system.api_key}", "X-Model-Pool": pool}
    asked = {"messages": turns, "max_tokens": 8}
    answer = requests.post(f"{caller.system.base_url}/inference", json=asked, headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("pool", ["claude", "nova"])
def test_the_anthropic_sdk_talks_to_bedrock(caller: Caller, pool: str) -> None:
    base = f"{caller.system.base_url}/tenants/{caller.system.tenant}"
    client: Any = Anthropic(base_url=base, api_key=caller.system.api_key, max_retries=0, timeout=PATIENCE_S)
    answer = client.messages.create(model=pool, messages=QUESTION, max_tokens=24)
    assert "Cloister" in answer.content[0].text
    with client.messages.stream(model=pool, messages=QUESTION, max_tokens=24) as stream:
        assert stream.get_final_message().content[0].text == answer.content[0].text
    counted = client.messages.count_tokens(model=pool, messages=QUESTION)
    assert counted.input_tokens == answer.usage.input_tokens
