"""A caller's own Converse against the local Bedrock: nothing is lost in types of ours, on the way there or back."""

import base64
import json
from typing import Any

import pytest

from chalicelib.call import Delta, Finished, Usage
from chalicelib.dialects.converse import verbatim
from chalicelib.refusal import Malformed, NoCapacity
from tests.engines.bedrock.test_engine import PIXEL, run
from tests.engines.bedrocks import ANY_MODEL, HAIKU, NOVA, ON_HAIKU, SONNET, LocalBedrock, converse, invoke, sandbox
from tests.engines.servers import Request, Wire, serving, whole

HI: list[Any] = [{"role": "user", "content": [{"text": "Hello there"}]}]
ACCOUNT = "123456789012"
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def arn(kind: str, name: str, region: str = "us-east-1", account: str = ACCOUNT) -> str:
    partition = "aws"
    return f"arn:{partition}:bedrock:{region}:{account}:{kind}/{name}"


def text_of(answers: list[Any]) -> str:
    if "output" in answers[0]:
        return str(answers[0]["output"]["message"]["content"][0]["text"])
    deltas = [each["contentBlockDelta"]["delta"]["text"] for each in answers if "contentBlockDelta" in each]
    return "".join(deltas)


@both
@pytest.mark.parametrize("model", [HAIKU, NOVA, SONNET, f"us.{SONNET}"])
def test_a_conversation_is_answered_as_bedrock_does(bedrock: LocalBedrock, model: str, stream: bool) -> None:
    started, answers, finished = run(sandbox(), ANY_MODEL, converse(model, {"messages": HI}, stream=stream))
    assert text_of(answers) == "Hello there"
    assert finished.usage == Usage(2, 2)
    assert started.detail["bedrock_request_id"] == bedrock.calls()[-1]["request_id"]
    if stream:
        ((kind, said),) = verbatim.events(finished.data)
        assert (kind, json.loads(said)["usage"]) == (
            "metadata",
            {"inputTokens": 2, "outputTokens": 2, "totalTokens": 4},
        )
    else:
        assert answers[0]["usage"] == {"inputTokens": 2, "outputTokens": 2, "totalTokens": 4}


@both
def test_the_ceiling_that_was_reserved_is_in_force(bedrock: LocalBedrock, stream: bool) -> None:
    words = [{"role": "user", "content": [{"text": " ".join(["word"] * 80)}]}]
    _, _, finished = run(sandbox(), ANY_MODEL, converse(HAIKU, {"messages": words}, stream=stream))
    assert finished.usage == Usage(80, 64)


def test_an_image_is_base64_in_the_body_and_arrives_as_its_bytes(bedrock: LocalBedrock) -> None:
    image = {"format": "png", "source": {"bytes": PIXEL}}
    asked = [{"role": "user", "content": [{"image": image}, {"text": "Hello there"}]}]
    _, answers, _ = run(sandbox(), ANY_MODEL, converse(HAIKU, {"messages": asked}))
    assert text_of(answers) == "Hello there"
    broken = {"format": "png", "source": {"bytes": base64.b64encode(b"no image").decode()}}
    asked = [{"role": "user", "content": [{"image": broken}, {"text": "Hello there"}]}]
    with pytest.raises(Malformed, match="image"):
        run(sandbox(), ANY_MODEL, converse(HAIKU, {"messages": asked}))


def test_what_nobody_knows_yet_goes_through_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"output": {"tomorrows": [1]}, "usage": {"inputTokens": 1, "outputTokens": 1, "future": 2}, "more": {"a": 1}}
    seen: list[Request] = []

    def answer(request: Request, wire: Wire) -> None:
        seen.append(request)
        wire.send(whole(json.dumps(told).encode()))

    body = {"messages": [{"role": "user", "content": [{"tomorrows": {"b": 1}}]}], "tomorrows": 1}
    with serving(answer) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.root)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
        _, [answered], finished = run(sandbox(), ANY_MODEL, converse(HAIKU, body))
    assert answered == told
    assert finished.usage == Usage(1, 1)
    (request,) = seen
    assert json.loads(request.body) == {**body, "inferenceConfig": {"maxTokens": 64}}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256")


@both
def test_refusals_are_those_of_every_call(bedrock: LocalBedrock, stream: bool) -> None:
    engine = sandbox()
    bedrock.do("fail", error="ThrottlingException", times=None)
    with pytest.raises(NoCapacity):
        run(engine, ANY_MODEL, converse(HAIKU, {"messages": HI}, stream=stream))
    bedrock.do("reset")
    with pytest.raises(Malformed, match="no model"):
        run(engine, ANY_MODEL, converse("anthropic.no-such-model", {"messages": HI}, stream=stream))
    for wrong in ({"messages": [{"role": "wizard", "content": []}]}, {"messages": [{"role": "user", "content": []}]}):
        with pytest.raises(Malformed):
            run(engine, ANY_MODEL, converse(HAIKU, wrong, stream=stream))
    with pytest.raises(Malformed, match="one model of its own"):
        run(engine, ON_HAIKU, converse(NOVA, {"messages": HI}, stream=stream))


def test_a_throttled_call_is_repeated_with_the_body_it_had(bedrock: LocalBedrock) -> None:
    bedrock.do("fail", error="ThrottlingException", times=2)
    _, answers, _ = run(sandbox(), ANY_MODEL, converse(HAIKU, {"messages": HI}))
    assert text_of(answers) == "Hello there"


# Names


@pytest.mark.parametrize(
    ("named", "called"),
    [
        (HAIKU, HAIKU),
        (arn("foundation-model", HAIKU, account=""), HAIKU),
        (arn("inference-profile", f"us.{SONNET}"), f"us.{SONNET}"),
        (arn("inference-profile", f"us.{SONNET}", account="999999999999"), f"us.{SONNET}"),
    ],
)
def test_what_aws_itself_has_made_may_be_named_by_its_arn(bedrock: LocalBedrock, named: str, called: str) -> None:
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "hi"}],
    }
    for call in (converse(named, {"messages": HI}), invoke(named, body)):
        events = list(sandbox().open(ANY_MODEL, call))
        assert any(isinstance(event, Delta) for event in events)
        assert isinstance(events[-1], Finished)
        assert bedrock.calls()[-1]["called_by"] == called


@pytest.mark.parametrize(
    "named",
    [
        arn("inference-profile", f"eu.{SONNET}"),  # residency
        arn("inference-profile", f"us.{SONNET}", region="eu-west-1"),
        arn("foundation-model", HAIKU, region="eu-west-1", account=""),
        arn("application-inference-profile", "abcdefghijkl"),
        arn("provisioned-model", "abcdefghijkl"),
        arn("custom-model", f"{HAIKU}/abcdefghijkl"),
        arn("prompt", "ABCDEFGHIJ:1"),
        arn("foundation-model", f"x/{HAIKU}", account=""),
    ],
)
def test_nothing_that_belongs_to_an_account_or_another_region_is_reached_by_its_arn(
    bedrock: LocalBedrock, named: str
) -> None:
    with pytest.raises(Malformed):
        sandbox().open(ANY_MODEL, converse(named, {"messages": HI}))
    assert bedrock.calls() == []
