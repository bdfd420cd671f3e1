"""What InvokeModel takes and gives, without a server."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.call import Delta, Event, Finished, Started, Usage
from chalicelib.dialects import invoke as wire
from chalicelib.dialects.converse import verbatim
from chalicelib.dialects.invoke import Chunks
from chalicelib.dialects.names import Names
from chalicelib.engines.bedrock.frames import Frames
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal
from tests.engines.bedrocks import HAIKU, ON_HAIKU, ask, converse, invoke, message
from tests.engines.frames import exception
from tests.engines.frames import model_chunk as chunk

STARTED = Started("us")
METRICS = {
    "amazon-bedrock-invocationMetrics": {
        "inputTokenCount": 4,
        "outputTokenCount": 2,
        "cacheReadInputTokenCount": 2,
        "cacheWriteInputTokenCount": 1,
    }
}
STARTS = {"type": "message_start", "message": {"usage": {"input_tokens": 4, "cache_read_input_tokens": 3}}}
PIECE = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
ENDS = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 2}}


def read(wire: bytes, operation: str = "messages", size: int = 0) -> list[Event]:
    frames = Frames(Chunks(STARTED, operation), ON_HAIKU)
    pieces = [wire[at : at + size] for at in range(0, len(wire), size)] if size else [wire]
    return [event for piece in pieces for event in frames.feed(piece)]


STOPS = {"type": "message_stop"}
SAID: list[dict[str, Any]] = [STARTS, PIECE, ENDS]
WHOLE = b"".join(chunk(said) for said in [*SAID, STOPS | METRICS])


@given(st.integers(1, len(WHOLE)))
def test_a_stream_is_the_same_for_every_chunking(size: int) -> None:
    assert read(WHOLE, size=size) == read(WHOLE)


def test_usage_is_anthropics_own_where_bedrock_told_none() -> None:
    for last, cached in ((STOPS, 3), (STOPS | METRICS, 2)):
        assert read(b"".join(chunk(said) for said in [*SAID, last]))[-1] == Finished(Usage(7, 2, cached))


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"output_tokens": 2}, {"input_tokens": 4, "cache_read_input_tokens": 3, "output_tokens": 2}),
        (
            {"input_tokens": None, "output_tokens": 2, "cache_read_input_tokens": 1, "more": None},
            {"input_tokens": 4, "output_tokens": 2, "cache_read_input_tokens": 1, "more": None},
        ),
        ({"input_tokens": 5, "output_tokens": 2}, {"input_tokens": 5, "output_tokens": 2}),
    ],
)
def test_the_last_count_of_a_stream_has_the_prompts_too(told: dict[str, int], usage: dict[str, int]) -> None:
    """As Anthropic's own service has it; Bedrock tells the prompt's at the start only, where LangChain never looks."""
    ends = read(b"".join(chunk(said) for said in [STARTS, PIECE, {**ENDS, "usage": told}, STOPS]))[-3]
    assert isinstance(ends, Delta)
    assert json.loads(ends.data) == {**ENDS, "usage": usage}


def test_a_message_without_its_stop_is_not_complete() -> None:
    frames = Frames(Chunks(STARTED, "messages"), ON_HAIKU)
    list(frames.feed(chunk(STARTS) + chunk(PIECE)))
    with pytest.raises(EngineFailed):
        list(frames.end())


def test_a_models_own_stream_ends_with_its_metrics_or_else_with_its_body() -> None:
    assert read(chunk({"generation": "Hi"} | METRICS), "invoke")[-1] == Finished(Usage(7, 2, 2))
    frames = Frames(Chunks(STARTED, "invoke"), ON_HAIKU)
    [_, said] = frames.feed(chunk({"generation": "Hi"}))
    assert said == Delta(b'{"generation": "Hi"}', 1)
    assert list(frames.end()) == [Finished(None)]
    assert frames.done


def test_an_answer_of_nothing_is_a_failed_engine() -> None:
    frames = Frames(Chunks(STARTED, "invoke"), ON_HAIKU)
    with pytest.raises(EngineFailed):
        list(frames.end())


def test_what_follows_the_end_is_of_no_interest() -> None:
    assert read(WHOLE + chunk(PIECE)) == read(WHOLE)


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [
        ("throttlingException", NoCapacity),
        ("serviceUnavailableException", NoCapacity),
        ("modelTimeoutException", EngineTimedOut),
        ("validationException", Malformed),
        ("internalServerException", EngineFailed),
        ("modelStreamErrorException", EngineFailed),
        ("", EngineFailed),
    ],
)
def test_an_exception_is_what_it_says(kind: str, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        read(exception(kind, message="Something."))


def test_a_body_of_another_kind_is_left_as_it_is() -> None:
    asked = wire.invocation(invoke("a.model", "plain", contentType="text/plain", accept="audio/mpeg"), "a.model")
    assert asked == wire.Invocation(b"plain", "text/plain", "audio/mpeg")


@pytest.mark.parametrize("body", [[], 7, None, "[]", {"max_tokens": "many"}, {"max_tokens": 1.5}])
def test_a_body_that_is_no_models_is_refused(body: object) -> None:
    with pytest.raises(Malformed):
        wire.invocation(invoke(HAIKU, body), HAIKU)


@pytest.mark.parametrize("media_type", ["a\r\nX-Other: b", "é", ""])
def test_a_media_type_is_nothing_but_a_header(media_type: str) -> None:
    with pytest.raises(Malformed, match="contentType"):
        wire.invocation(invoke(HAIKU, {}, contentType=media_type), HAIKU)


def test_a_body_has_to_be_there() -> None:
    with pytest.raises(Malformed, match="body"):
        wire.invocation(ask("invoke", {"modelId": HAIKU}), HAIKU)


def test_a_message_is_sent_as_it_came_but_for_what_is_ours() -> None:
    sent = json.loads(wire.messages(message("Hi", stream=True, top_k=3, max_tokens=9_999), HAIKU, Names()))
    assert sent == {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "Hi"}],
        "top_k": 3,
    }


THINKING = {"type": "enabled", "budget_tokens": 31_999}
THOUGHTS = [
    # said, lowered to, thought
    ({"max_tokens": 32_000, "thinking": THINKING}, 64_000, 31_999),
    ({"max_tokens": 32_000, "thinking": THINKING}, 32_000, 31_999),
    ({"max_tokens": 32_000, "thinking": THINKING}, 4_096, 4_095),
    ({"max_tokens": 32_000, "thinking": {**THINKING, "budget_tokens": 4_095}}, 4_096, 4_095),
    ({"max_tokens": 1_024, "thinking": THINKING}, 1_024, 31_999),  # the caller's own mistake, which Claude explains
]


@pytest.mark.parametrize(("said", "ceiling_tokens", "thought"), THOUGHTS)
def test_a_budget_for_thinking_is_lowered_with_the_ceiling(
    said: dict[str, Any], ceiling_tokens: int, thought: int
) -> None:
    asked = msgspec.structs.replace(message(**said), ceiling_tokens=ceiling_tokens)
    by_message = json.loads(wire.messages(asked, HAIKU, Names()))
    of_body = msgspec.structs.replace(invoke(HAIKU, said), ceiling_tokens=ceiling_tokens)
    by_body = json.loads(wire.invocation(of_body, HAIKU).body)
    more = {name: value for name, value in said.items() if name != "max_tokens"}
    config = {"inferenceConfig": {"maxTokens": said["max_tokens"]}, "additionalModelRequestFields": more}
    of_converse = converse(HAIKU, {"messages": [], **config})
    by_converse = json.loads(verbatim.request(msgspec.structs.replace(of_converse, ceiling_tokens=ceiling_tokens)))
    for thinking in (
        by_message["thinking"],
        by_body["thinking"],
        by_converse["additionalModelRequestFields"]["thinking"],
    ):
        assert thinking == {"type": "enabled", "budget_tokens": thought}


@pytest.mark.parametrize(("more", "most"), [({}, 1), ({"thinking": THINKING}, 32_000), ({"max_tokens": 9}, 1)])
def test_a_count_names_more_than_may_be_thought(more: dict[str, Any], most: int) -> None:
    count = ask("messages.count_tokens", {"messages": [], **more}, ceiling_tokens=0)
    assert json.loads(wire.messages(count, HAIKU, Names()))["max_tokens"] == most


def test_a_whole_message_is_counted_by_bedrock_or_by_itself() -> None:
    body = b'{"type":"message","usage":{"input_tokens":5,"output_tokens":2,"cache_creation_input_tokens":1}}'
    headers = {
        "x-amzn-bedrock-input-token-count": "4",
        "x-amzn-bedrock-output-token-count": "3",
        "x-amzn-bedrock-cache-read-input-token-count": "2",
        "x-amzn-bedrock-cache-write-input-token-count": "1",
    }
    assert wire.whole(body, {}, "messages") == (Delta(body, 2), Finished(Usage(6, 2)))
    assert wire.whole(body, headers, "messages") == (Delta(body, 3), Finished(Usage(7, 3, 2)))
    assert wire.whole(b"raw", {}, "invoke") == (Delta(b"raw"), Finished(None))
    with pytest.raises(EngineFailed):
        wire.whole(b"raw", {}, "messages")
