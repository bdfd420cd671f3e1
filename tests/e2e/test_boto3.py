"""boto3's own client of Bedrock on the running system, signed or with an API key, down to the local Bedrock."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EventStreamError

from tests.clients.test_boto3 import for_api_gateway
from tests.e2e.local_bedrock import command
from tests.e2e.test_bedrock import BODY, HAIKU, PNG, SONNET, Caller
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S
from tests.tls_front import tls_front

ONCE = Config(read_timeout=PATIENCE_S, connect_timeout=PATIENCE_S, retries={"total_max_attempts": 1})
TURNS: Any = [{"role": "user", "content": [{"text": "What is Cloister?"}]}]
SHORT = {"maxTokens": 24}
LLAMA = "meta.llama3-8b-instruct-v1:0"  # of no other test: what breaks opens a breaker for a while
SONNET_ARN = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{SONNET}"


@pytest.fixture
def caller(running_system: RunningSystem) -> Iterator[Caller]:
    command(running_system, do="reset")
    yield Caller(running_system)
    command(running_system, do="reset")


@pytest.fixture(scope="module")
def secure(running_system: RunningSystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with tls_front(running_system.base_url, tmp_path_factory.mktemp("tls")) as front:
        yield front


@pytest.fixture(params=["bearer", "signed"])
def client(
    request: pytest.FixtureRequest,
    running_system: RunningSystem,
    secure: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    env = running_system.env
    if request.param == "bearer":
        root, certificate = secure
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", running_system.api_key)
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", f"{root}/tenants/{running_system.tenant}/v1/bedrock")
        return boto3.Session().client("bedrock-runtime", "us-east-1", verify=str(certificate), config=ONCE)
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    session = boto3.Session(
        env["CLOISTER_GOVCLOUD_ACCESS_KEY_ID"],
        env["CLOISTER_GOVCLOUD_SECRET_ACCESS_KEY"],
        region_name=env["CLOISTER_GOVCLOUD_REGION"],
    )
    client = session.client("bedrock-runtime", endpoint_url=f"{running_system.base_url}/v1/bedrock", config=ONCE)
    client.meta.events.register("before-sign.bedrock-runtime", for_api_gateway)
    return client


def converse(client: Any, model: str, **more: Any) -> tuple[str, Any]:
    answer = client.converse(modelId=model, messages=TURNS, inferenceConfig=SHORT, **more)
    return answer["output"]["message"]["content"][0]["text"], answer


def converse_stream(client: Any, model: str, **more: Any) -> tuple[str, Any]:
    answer = client.converse_stream(modelId=model, messages=TURNS, inferenceConfig=SHORT, **more)
    events = list(answer["stream"])
    assert list(events[-1]) == ["metadata"]
    deltas = [each["contentBlockDelta"]["delta"]["text"] for each in events if "contentBlockDelta" in each]
    return "".join(deltas), answer


def invoke_model(client: Any, model: str) -> tuple[str, Any]:
    answer = client.invoke_model(modelId=model, body=json.dumps(BODY))
    return json.loads(answer["body"].read())["content"][0]["text"], answer


def invoke_model_with_response_stream(client: Any, model: str) -> tuple[str, Any]:
    answer = client.invoke_model_with_response_stream(modelId=model, body=json.dumps(BODY))
    said = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
    assert said[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 24
    return "".join(each["delta"].get("text", "") for each in said if each["type"] == "content_block_delta"), answer


WAYS = (invoke_model, invoke_model_with_response_stream, converse, converse_stream)
every_way = pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])


@every_way
@pytest.mark.parametrize("model", [HAIKU, SONNET, f"us.{SONNET}", SONNET_ARN], ids=["model", "bare", "profile", "arn"])
def test_a_model_answers_and_the_call_is_on_record(
    client: Any, caller: Caller, way: Callable[[Any, str], tuple[str, Any]], model: str
) -> None:
    said, answer = way(client, model)
    assert "Cloister" in said
    record = caller.record(answer["ResponseMetadata"]["RequestId"])
    assert (record["modelId"], record["statusCode"], record["destinationPartition"]) == (model, 200, "commercial")
    assert record["tokensOut"] == 24
    assert record["inferenceProfile"] == ("" if model == HAIKU else f"us.{SONNET}")


def test_images_tools_and_their_results_reach_bedrock(client: Any, caller: Caller) -> None:
    image = {"image": {"format": "png", "source": {"bytes": base64.b64decode(PNG)}}}
    tool = {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
    command(caller.system, do="say", blocks=[{"tool": "weather", "input": {"city": "Bern"}}])
    asked: Any = [{"role": "user", "content": [image, {"text": "What is this?"}]}]
    first = client.converse(modelId=HAIKU, messages=asked, toolConfig={"tools": [tool]}, inferenceConfig=SHORT)
    assert first["stopReason"] == "tool_use"
    called = first["output"]["message"]
    result = {"toolUseId": called["content"][0]["toolUse"]["toolUseId"], "content": [{"json": {"weather": "rain"}}]}
    turns = [*asked, called, {"role": "user", "content": [{"toolResult": result}]}]
    second = client.converse(modelId=HAIKU, messages=turns, toolConfig={"tools": [tool]}, inferenceConfig=SHORT)
    assert second["output"]["message"]["content"][0]["text"]


@every_way
def test_what_bedrock_refuses_is_the_exception_that_it_would_be(
    client: Any, caller: Caller, way: Callable[[Any, str], tuple[str, Any]]
) -> None:
    with pytest.raises(client.exceptions.ValidationException, match="no model"):
        way(client, "anthropic.no-such-model-v9:9")
    with pytest.raises(client.exceptions.ValidationException, match="geography"):
        way(client, f"eu.{SONNET}")
    command(caller.system, do="fail", error="ThrottlingException", times=None)
    with pytest.raises(client.exceptions.ServiceUnavailableException):
        way(client, HAIKU)


def test_a_stream_that_bedrock_cuts_raises(client: Any, caller: Caller) -> None:
    command(caller.system, do="cut", after_events=3)
    with pytest.raises(EventStreamError) as raised:
        converse_stream(client, LLAMA)
    assert raised.value.response["Error"]["Code"] == "modelStreamErrorException"
