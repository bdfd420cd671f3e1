"""boto3 as it is: with an API key as its bearer token, or signed for API Gateway by the recipe of docs/api.md."""

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from chalicelib import wiring
from chalicelib.admission.limits import Budget, Limits, Rate
from chalicelib.call import Finished, Started
from chalicelib.ledger import Entry
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal
from chalicelib.tenancy import Change
from tests import aws_descriptions
from tests.api import signing
from tests.api.bedrock_script import CONVERSED, EVENTS, MESSAGE, MODEL, PIECES, USAGE, ScriptedBedrock, drawn
from tests.certificates import self_signed
from tests.patience import PATIENCE_S, until
from tests.small_deployments import T0, front, served

TURNS: Any = [{"role": "user", "content": [{"text": "hi"}]}]
BODY = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 8, "messages": []})
PROFILE_ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"

Make = Callable[..., Any]


def for_api_gateway(request: Any, **_: object) -> None:
    """As docs/api.md shows it."""
    request.context.setdefault("signing", {})["signing_name"] = "execute-api"


def patient(**retries: Any) -> Config:
    return Config(read_timeout=PATIENCE_S, connect_timeout=PATIENCE_S, retries=retries)


ONCE = patient(total_max_attempts=1)


@pytest.fixture
def bedrock() -> Iterator[ScriptedBedrock]:
    bedrock = ScriptedBedrock()
    with wiring.opening_into(bedrock.deployment.rooms()):
        yield bedrock


class Secure(NamedTuple):
    """The gateway over TLS: a bearer token leaves boto3 no other way."""

    root: str
    certificate: Path


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    certificate = self_signed(tmp_path_factory.mktemp("tls"))
    with served(front(signing.IAM), certificate) as gateway:
        yield Secure(f"https://{gateway.host}:{gateway.port}", certificate)
        # What an exception still holds is a connection, and a server waits half a minute for whoever keeps one.
        gc.collect()


def bearer(gateway: Secure, config: Config) -> Any:
    """Nothing of boto3 is changed. What AWS_BEARER_TOKEN_BEDROCK holds it reads at the first call."""
    return boto3.Session(botocore_session=aws_descriptions.session()).client(
        "bedrock-runtime",
        region_name=signing.REGION,
        endpoint_url=f"{gateway.root}/tenants/acme/v1/bedrock",
        verify=str(gateway.certificate),
        config=config,
    )


def signed(gateway: Secure, secret: str, config: Config) -> Any:
    client = boto3.Session(signing.KEY_ID, secret, botocore_session=aws_descriptions.session()).client(
        "bedrock-runtime",
        region_name=signing.REGION,
        endpoint_url=f"{gateway.root}/v1/bedrock",
        verify=str(gateway.certificate),
        config=config,
    )
    client.meta.events.register("before-sign.bedrock-runtime", for_api_gateway)
    return client


@pytest.fixture(params=["bearer", "signed"])
def make(
    request: pytest.FixtureRequest, gateway: Secure, bedrock: ScriptedBedrock, monkeypatch: pytest.MonkeyPatch
) -> Make:
    """Clients of one tenant, by either way in."""
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    if request.param == "signed":
        return lambda secret=signing.SECRET, config=ONCE: signed(gateway, secret, config)

    def with_key(key: str = "", config: Config = ONCE) -> Any:
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", key or bedrock.deployment.key())
        return bearer(gateway, config)

    return with_key


@pytest.fixture
def client(make: Make) -> Any:
    return make()


def entries(bedrock: ScriptedBedrock) -> tuple[Entry, ...]:
    return bedrock.deployment.store.ledger.page("acme", 0, T0 * 2, None, 100).entries


WAYS: dict[str, Callable[[Any, str], Any]] = {
    "invoke_model": lambda client, model: client.invoke_model(modelId=model, body=BODY)["body"].read(),
    "invoke_model_with_response_stream": lambda client, model: list(
        client.invoke_model_with_response_stream(modelId=model, body=BODY)["body"]
    ),
    "converse": lambda client, model: client.converse(modelId=model, messages=TURNS),
    "converse_stream": lambda client, model: list(client.converse_stream(modelId=model, messages=TURNS)["stream"]),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
every_stream = pytest.mark.parametrize(
    "way", [WAYS[name] for name in WAYS if "stream" in name], ids=["invoke", "converse"]
)


def test_invoke_model_gives_the_models_own_answer(client: Any, bedrock: ScriptedBedrock) -> None:
    answer = client.invoke_model(modelId=MODEL, body=BODY, contentType="application/json", accept="application/json")
    assert json.loads(answer["body"].read()) == MESSAGE
    assert answer["contentType"] == "application/json"
    told = answer["ResponseMetadata"]
    assert told["RequestId"] == told["HTTPHeaders"]["x-request-id"]
    assert told["HTTPHeaders"]["x-amzn-bedrock-input-token-count"] == "9"
    assert bedrock.asked == json.loads(BODY)
    assert bedrock.calls[0].ceiling_tokens == 8


def test_invoke_model_with_response_stream_gives_the_models_own_pieces(client: Any) -> None:
    answer = client.invoke_model_with_response_stream(modelId=MODEL, body=BODY)
    assert [json.loads(event["chunk"]["bytes"]) for event in answer["body"]] == list(PIECES)
    assert answer["contentType"] == "application/json"


def test_converse_gives_bedrocks_own_answer(client: Any, bedrock: ScriptedBedrock) -> None:
    answer = client.converse(
        modelId=MODEL,
        messages=[{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}]}],
        system=[{"text": "Be brief."}],
        inferenceConfig={"maxTokens": 9, "temperature": 0.5},
        additionalModelRequestFields={"top_k": 5},
    )
    assert {name: answer[name] for name in CONVERSED} == CONVERSED
    assert bedrock.asked["messages"][0]["content"] == [{"image": {"format": "png", "source": {"bytes": "iVBORw=="}}}]
    assert bedrock.asked["additionalModelRequestFields"] == {"top_k": 5}
    assert bedrock.calls[0].ceiling_tokens == 9


def test_converse_stream_gives_bedrocks_own_events(client: Any) -> None:
    assert list(client.converse_stream(modelId=MODEL, messages=TURNS)["stream"]) == list(EVENTS)


@every_way
@pytest.mark.parametrize("model", [MODEL, f"us.{MODEL}", PROFILE_ARN])
def test_every_way_is_charged_and_audited_under_the_model_that_was_named(
    client: Any, bedrock: ScriptedBedrock, way: Callable[[Any, str], Any], model: str
) -> None:
    way(client, model)
    (entry,) = entries(bedrock)
    assert (entry.outcome, entry.used.tokens) == ("completed", USAGE.total_tokens)
    assert entry.audited is not None
    assert entry.audited.model_id == bedrock.calls[0].model_id == model


# What is refused


@every_way
@pytest.mark.parametrize(
    ("refusal", "name", "status"),
    [
        (Malformed("no"), "ValidationException", 400),
        (NoCapacity("full"), "ServiceUnavailableException", 503),
        (EngineTimedOut("slow"), "ModelTimeoutException", 504),
    ],
)
def test_what_the_engine_refuses_is_an_exception_that_the_client_knows(
    client: Any, bedrock: ScriptedBedrock, way: Callable[[Any, str], Any], refusal: Refusal, name: str, status: int
) -> None:
    bedrock.steps = (refusal,)
    with pytest.raises(getattr(client.exceptions, name)) as raised:
        way(client, MODEL)
    said = raised.value.response
    assert said["Error"]["Code"] == name
    assert said["Error"]["Message"]
    assert said["ResponseMetadata"]["HTTPStatusCode"] == status
    assert said["ResponseMetadata"]["RequestId"] == said["ResponseMetadata"]["HTTPHeaders"]["x-request-id"]


@every_way
def test_a_limit_is_throttling_and_says_when_to_come_back(
    client: Any, bedrock: ScriptedBedrock, way: Callable[[Any, str], Any]
) -> None:
    rate = Rate("second", "requests", count=1, period_ms=60_000, burst=2)
    bedrock.deployment.tenancy.change_tenant("acme", Change(limits=Limits((rate,), (), 8)))
    with pytest.raises(client.exceptions.ThrottlingException, match="second") as raised:
        for _ in range(3):
            way(client, MODEL)
    assert int(raised.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) > 0


@every_way
def test_a_quota_is_no_throttling(client: Any, bedrock: ScriptedBedrock, way: Callable[[Any, str], Any]) -> None:
    budget = Budget("month", "requests", 1, "month", True, "plan")
    bedrock.deployment.tenancy.change_tenant("acme", Change(limits=Limits((), (budget,), 8)))
    with pytest.raises(client.exceptions.ServiceQuotaExceededException, match="month"):
        for _ in range(2):
            way(client, MODEL)


def test_boto3_tries_again_by_itself_what_passes_and_nothing_else(make: Make, bedrock: ScriptedBedrock) -> None:
    client = make(config=patient(total_max_attempts=2, mode="standard"))
    for refusal, attempts in ((NoCapacity("full"), 2), (Malformed("no"), 1)):
        bedrock.steps, bedrock.calls[:] = (refusal,), []
        with pytest.raises(ClientError) as raised:
            client.converse(modelId=MODEL, messages=TURNS)
        assert raised.value.response["ResponseMetadata"].get("RetryAttempts", 0) == attempts - 1


@every_way
def test_a_wrong_secret_or_key_is_access_denied(make: Make, way: Callable[[Any, str], Any]) -> None:
    client = make("wrong")
    with pytest.raises(client.exceptions.AccessDeniedException):
        way(client, MODEL)


@every_way
def test_a_client_that_signs_for_bedrock_is_told_both_ways_in(
    gateway: Secure, bedrock: ScriptedBedrock, way: Callable[[Any, str], Any]
) -> None:
    client = signed(gateway, signing.SECRET, ONCE)
    client.meta.events.unregister("before-sign.bedrock-runtime", for_api_gateway)
    with pytest.raises(client.exceptions.AccessDeniedException) as raised:
        way(client, MODEL)
    for word in ("'execute-api'", "signing_name", "AWS_BEARER_TOKEN_BEDROCK"):
        assert word in raised.value.response["Error"]["Message"]


# Streams that do not end well


@every_stream
@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (EngineFailed("it broke"), "modelStreamErrorException"),
        (NoCapacity("it is full"), "serviceUnavailableException"),
        (Malformed("it is wrong"), "validationException"),
    ],
)
def test_a_stream_that_breaks_raises(
    client: Any, bedrock: ScriptedBedrock, way: Callable[[Any, str], Any], refusal: Refusal, code: str
) -> None:
    bedrock.steps = (Started("there"), drawn(EVENTS[1], 1), refusal)
    with pytest.raises(EventStreamError) as raised:
        way(client, MODEL)
    assert raised.value.response["Error"] == {"Code": code, "Message": refusal.text}


def test_an_event_is_there_before_the_next_is_generated_and_who_leaves_is_charged_for_what_was(
    client: Any, bedrock: ScriptedBedrock
) -> None:
    gate = Event()
    bedrock.steps = (Started("there"), drawn(EVENTS[1], 1), gate, drawn(EVENTS[2], 1), Finished(USAGE))
    stream = client.converse_stream(modelId=MODEL, messages=TURNS)["stream"]
    assert next(iter(stream)) == EVENTS[1]
    stream.close()
    (entry,) = until(lambda: entries(bedrock))
    assert (entry.outcome, entry.reason) == ("failed", "client_left")
    assert entry.charged.tokens == bedrock.calls[0].prompt_tokens + 1
    assert until(lambda: bedrock.deployment.engine.running == 0)
