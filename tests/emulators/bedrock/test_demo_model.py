"""Answers of a real model behind an OpenAI-compatible server, and of one that fails."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from botocore.exceptions import EventStreamError

from emulators.sockets import reserve, url
from tests.emulators.bedrock.openai_server import OpenAIServer, openai_server
from tests.emulators.bedrock.served import HAIKU, LLAMA, NOVA, ROOT, Served, anthropic, refused, said, served, user
from tests.patience import PATIENCE_S


@pytest.fixture(scope="module")
def _shared() -> Iterator[tuple[OpenAIServer, Served]]:
    with openai_server() as model, served("--model-url", model.url, "--model", "m") as bedrock:
        yield model, bedrock


@pytest.fixture
def model(_shared: tuple[OpenAIServer, Served]) -> OpenAIServer:
    model, bedrock = _shared
    bedrock.command("reset")
    model.asked.clear()
    model.client_left.clear()
    return model


@pytest.fixture
def behind(_shared: tuple[OpenAIServer, Served]) -> Served:
    return _shared[1]


def script(*pieces: str, **members: object) -> str:
    return json.dumps({"pieces": pieces, **members})


def test_the_model_is_asked_what_the_caller_asked(model: OpenAIServer, behind: Served) -> None:
    model.gate.release()
    config = {"maxTokens": 9, "temperature": 0.5, "topP": 0.25, "stopSequences": ["x"]}
    answer = behind.converse(script("hello"), system=[{"text": "be brief"}], inferenceConfig=config)
    asked = model.asked[-1]

    assert answer["usage"] == {"inputTokens": 7, "outputTokens": 1, "totalTokens": 8}
    assert [turn["role"] for turn in asked["messages"]] == ["system", "user"]
    assert (asked["model"], asked["max_tokens"], asked["temperature"], asked["top_p"]) == ("m", 9, 0.5, 0.25)


def test_a_streamed_answer_comes_as_the_model_says_it(model: OpenAIServer, behind: Served) -> None:
    model.gate.release()
    events = iter(behind.converse_stream(script("one", " two")))
    first = [next(events), next(events)]
    model.gate.release()

    assert said(first) == "one"
    assert said(events) == " two"


def test_a_model_that_reaches_its_own_end_says_max_tokens(model: OpenAIServer, behind: Served) -> None:
    model.gate.release()

    assert behind.invoke(anthropic(script("one", reason="length")))["stop_reason"] == "max_tokens"


def test_a_caller_that_leaves_stops_the_model(model: OpenAIServer, behind: Served) -> None:
    model.gate.release()
    stream = behind.converse_stream(script("one", then="wait"))
    assert said([next(iter(stream)), next(iter(stream))]) == "one"
    stream.close()

    assert model.client_left.wait(PATIENCE_S)


def test_a_stop_sequence_stops_the_model(model: OpenAIServer, behind: Served) -> None:
    model.gate.release()
    answer = behind.converse(script("stop here", then="wait"), inferenceConfig={"stopSequences": [" here"]})

    assert answer["stopReason"] == "stop_sequence"
    assert model.client_left.wait(PATIENCE_S)


@pytest.mark.parametrize(
    ("status", "code", "error", "text"),
    [
        (400, "exceed_context_size_error", "ValidationException", "Input is too long for requested model."),
        (429, "", "ThrottlingException", "Too many requests"),
        (503, "", "ServiceUnavailableException", "Bedrock is unable to process your request."),
        (404, "model_not_found", "ServiceUnavailableException", ""),
    ],
)
def test_what_the_model_refuses_is_refused_in_bedrocks_words(
    model: OpenAIServer, behind: Served, status: int, code: str, error: str, text: str
) -> None:
    asked = json.dumps({"status": status, "code": code})
    with refused(error, text):
        behind.converse(asked)
    with refused(error, text):
        behind.converse_stream(asked)


def test_a_model_that_breaks_off_is_a_model_error(model: OpenAIServer, behind: Served) -> None:
    model.gate.release(2)

    with refused("ModelErrorException"):
        behind.converse(script("one", then="break"))
    with pytest.raises(EventStreamError, match="modelStreamErrorException"):
        list(behind.converse_stream(script("one", then="break")))


def test_a_model_that_is_not_there_is_unavailable() -> None:
    with (
        reserve() as nobody,
        served("--model-url", f"{url(nobody)}/v1") as bedrock,
        refused("ServiceUnavailableException"),
    ):
        bedrock.converse()


@pytest.fixture(scope="module")
def demo() -> Iterator[Served]:
    """The container of production with the model that ships with it, behind Bedrock's face."""
    command = [sys.executable, "-m", "serving", "--model", f"demo={ROOT / 'sagemaker/models/demo'}", "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "sagemaker")}
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = next((line for line in process.stdout if '"ready"' in line), None)
        assert ready, "the container did not start"
        with served("--model-url", f"http://127.0.0.1:{json.loads(ready)['port']}/v1") as bedrock:
            yield bedrock
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_every_family_speaks_with_the_demo_model(demo: Served) -> None:
    by_converse = demo.converse("hello there", inferenceConfig={"temperature": 0})
    streamed = said(demo.converse_stream("hello there", NOVA, inferenceConfig={"temperature": 0}))
    by_body = demo.invoke(anthropic("hello there", temperature=0))
    by_prompt = demo.invoke({"prompt": "hello there", "temperature": 0}, LLAMA)

    (text,) = {
        by_converse["output"]["message"]["content"][0]["text"],
        streamed,
        by_body["content"][0]["text"],
        by_prompt["generation"],
    }
    assert "demo model" in text
    assert by_converse["usage"]["inputTokens"] == by_prompt["prompt_token_count"] > 2


def test_tokens_are_counted_by_the_demo_model(demo: Served) -> None:
    counted = demo.runtime.count_tokens(modelId=HAIKU, input={"converse": {"messages": [user("hello there")]}})

    assert counted["inputTokens"] == demo.converse("hello there")["usage"]["inputTokens"]


def test_of_a_prompt_beyond_its_context_the_model_is_asked_the_end_and_all_of_it_is_counted(
    model: OpenAIServer, behind: Served
) -> None:
    model.gate.release(2)
    last = script("fine", context=200)
    turns = [user("a" * 500), {"role": "assistant", "content": [{"text": "b" * 500}]}, user(last)]
    asked = {"modelId": HAIKU, "messages": turns, "system": [{"text": "c" * 500}]}
    answer = behind.runtime.converse(**asked)

    half = [{"role": "assistant", "content": "b" * (100 - len(last))}, {"role": "user", "content": last}]
    assert model.asked[-1]["messages"] == half
    assert answer["output"]["message"]["content"] == [{"text": "fine"}]
    assert answer["usage"]["inputTokens"] == 1_500 + len(last)
    assert said(behind.runtime.converse_stream(**asked)["stream"]) == "fine"


LONG = "word " * 9_000


@pytest.mark.parametrize("model", [HAIKU, NOVA])
def test_the_demo_model_answers_a_prompt_that_is_longer_than_its_context(demo: Served, model: str) -> None:
    turns = [user("Hello!"), {"role": "assistant", "content": [{"text": LONG}]}, user("hello there")]
    answer = demo.runtime.converse(modelId=model, messages=turns, system=[{"text": LONG}])

    assert answer["output"]["message"]["content"][0]["text"]
    assert answer["usage"]["inputTokens"] > 36_000
    if model == HAIKU:
        counted = demo.runtime.count_tokens(modelId=model, input={"converse": {"messages": turns}})
        assert 18_000 < counted["inputTokens"] < answer["usage"]["inputTokens"]


def test_a_prompt_beyond_the_models_own_context_is_too_long(demo: Served) -> None:
    with refused("ValidationException", "Input is too long for requested model."):
        demo.invoke({"prompt": LONG}, LLAMA)
    with refused("ValidationException", "Input Tokens Exceeded"):
        demo.converse("word " * 151_000, NOVA)
    with refused("ValidationException", "tokens > 200000 maximum"):
        demo.converse("word " * 101_000, HAIKU)
