"""A caller's own Converse: what must be known of it is found, and everything else stays as it is."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.call import Delta, Event, Finished, Started, Usage
from chalicelib.dialects import ceilings
from chalicelib.dialects.converse import verbatim
from chalicelib.engines.bedrock.frames import Frames
from chalicelib.refusal import EngineFailed, Malformed, NoCapacity
from tests.engines.answers import ending
from tests.engines.bedrocks import ON_HAIKU, converse
from tests.engines.frames import exception, told

STARTED = Started("us")
HI: list[Any] = [{"role": "user", "content": [{"text": "hi"}]}]
USAGE = {"inputTokens": 4, "outputTokens": 2, "totalTokens": 9, "cacheReadInputTokens": 2, "cacheWriteInputTokens": 1}
BEGINS = told("messageStart", role="assistant")
PIECE = told("contentBlockDelta", delta={"text": "Hi"}, contentBlockIndex=0)
NEW = told("tomorrowsEvent", tells={"us": "nothing"})
ENDS = told("contentBlockStop", contentBlockIndex=0) + told("messageStop", stopReason="end_turn")
COUNTS = told("metadata", usage=USAGE, metrics={"latencyMs": 3})
WHOLE = BEGINS + PIECE + NEW + ENDS + COUNTS


def read(wire: bytes, size: int = 0) -> list[Event]:
    frames = Frames(verbatim.Reader(STARTED), ON_HAIKU)
    pieces = [wire[at : at + size] for at in range(0, len(wire), size)] if size else [wire]
    return [event for piece in pieces for event in frames.feed(piece)]


def sent(body: dict[str, Any], ceiling_tokens: int = 64) -> dict[str, Any]:
    call = msgspec.structs.replace(converse("m", body), ceiling_tokens=ceiling_tokens)
    asked: dict[str, Any] = json.loads(verbatim.request(call))
    return asked


# What is asked


@pytest.mark.parametrize(
    ("body", "ceiling"),
    [
        ({}, None),
        ({"inferenceConfig": {}}, None),
        ({"inferenceConfig": None}, None),
        ({"inferenceConfig": {"maxTokens": None}}, None),
        ({"inferenceConfig": {"maxTokens": 7}}, 7),
        ({"additionalModelRequestFields": {"max_tokens": 8}}, 8),
        ({"additionalModelRequestFields": {"max_gen_len": 8}}, 8),
        ({"additionalModelRequestFields": {"max_completion_tokens": 8}}, 8),
        ({"additionalModelRequestFields": {"max_new_tokens": 8}}, 8),
        ({"additionalModelRequestFields": {"max_tokens_to_sample": 8}}, 8),
        ({"additionalModelRequestFields": {"inferenceConfig": {"max_new_tokens": 8}}}, 8),
        ({"additionalModelRequestFields": {"textGenerationConfig": {"maxTokenCount": 8}}}, 8),
        ({"additionalModelRequestFields": {"top_k": 8}}, None),
        ({"additionalModelRequestFields": "8"}, None),
        ({"inferenceConfig": {"maxTokens": 7}, "additionalModelRequestFields": {"max_tokens": 9}}, 9),
        ({"inferenceConfig": {"maxTokens": 9}, "additionalModelRequestFields": {"max_tokens": 7}}, 9),
    ],
)
def test_the_ceiling_that_a_request_names_is_found(body: dict[str, Any], ceiling: int | None) -> None:
    assert ceilings.of_converse(json.dumps({"messages": HI, **body}).encode()) == ceiling


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "7", True, [], {}, 10_000_001, 10**30])
def test_a_ceiling_that_is_none_is_named(wrong: object) -> None:
    with pytest.raises(Malformed, match="maxTokens"):
        ceilings.of_converse(json.dumps({"inferenceConfig": {"maxTokens": wrong}}).encode())


@pytest.mark.parametrize("location", ceilings.IN_EXTRAS, ids=".".join)
def test_the_reserved_ceiling_is_said_where_converse_has_it_and_nowhere_besides(location: tuple[str, ...]) -> None:
    rival: Any = 999
    for name in reversed(location):
        rival = {name: rival}
    asked = sent({"messages": HI, "additionalModelRequestFields": {**rival, "top_k": 5}}, 16)
    assert asked["inferenceConfig"] == {"maxTokens": 16}
    assert "999" not in json.dumps(asked)
    assert asked["additionalModelRequestFields"]["top_k"] == 5


def test_members_that_are_none_of_ours_go_as_they_came() -> None:
    own = {
        "messages": [{"role": "user", "content": [{"tomorrows": [1.50, None]}, {"text": "é \u2028"}]}],
        "system": [{"cachePoint": {"type": "default"}}],
        "inferenceConfig": {"temperature": 0.5, "tomorrows": 1},
        "additionalModelResponseFieldPaths": ["/stop_sequence"],
        "requestMetadata": {"team": "x"},
        "tomorrows": {"member": True},
    }
    assert sent(own, 9) == {**own, "inferenceConfig": {"temperature": 0.5, "tomorrows": 1, "maxTokens": 9}}


def test_a_config_that_is_no_object_is_refused() -> None:
    with pytest.raises(Malformed, match="inferenceConfig"):
        sent({"inferenceConfig": [1]})


BUCKET = {"s3Location": {"uri": "s3://the-operators/file.pdf"}}
SEEN = {"image": {"format": "png", "source": BUCKET}}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}, "guardrailConfig"),
        ({"performanceConfig": {"latency": "optimized"}}, "performanceConfig"),
        ({"serviceTier": {"type": "priority"}}, "serviceTier"),
        ({"messages": [{"role": "user", "content": [SEEN]}]}, "s3Location"),
        ({"messages": [{"role": "user", "content": [{"document": {"name": "d", "source": BUCKET}}]}]}, "s3Location"),
        ({"messages": [{"role": "user", "content": [{"toolResult": {"content": [SEEN]}}]}]}, "s3Location"),
        ({"messages": [{"role": "user", "content": [{"tomorrows": {"source": BUCKET}}]}]}, "s3Location"),
    ],
)
def test_what_is_not_the_callers_to_ask_for_is_refused_by_name(body: dict[str, Any], name: str) -> None:
    for text in (json.dumps(body), json.dumps(body).replace("s3L", "\\u00733L")):
        with pytest.raises(Malformed, match=name):
            verbatim.must_be_the_callers(text.encode())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": HI},
        {"guardrailConfig": None, "performanceConfig": {"latency": "standard"}, "serviceTier": {"type": "default"}},
        {"messages": [{"role": "assistant", "content": [{"toolUse": {"input": BUCKET}}]}]},
        {"messages": [{"role": "user", "content": [{"toolResult": {"content": [{"json": BUCKET}]}}]}]},
        {"messages": [{"role": "user", "content": [{"text": "what is an s3Location?"}]}]},
        {"toolConfig": {"tools": [{"toolSpec": {"inputSchema": {"json": {"properties": BUCKET}}}}]}},
    ],
)
def test_what_is_the_callers_is_not(body: dict[str, Any]) -> None:
    verbatim.must_be_the_callers(json.dumps(body).encode())


@pytest.mark.parametrize("body", [b"[1]", b"7", b"", b"{", b'{"a":\xff}', b'{"messages":' + b"[" * 100_000])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        verbatim.must_be_the_callers(body)
        ceilings.of_converse(body)


# What is answered


def test_a_whole_answer_is_bedrocks_own_bytes_and_its_tokens_are_counted() -> None:
    body = json.dumps({"output": {"tomorrows": 1}, "usage": USAGE, "p": "x"}).encode()
    assert verbatim.whole(body) == (Delta(body, 2), Finished(Usage(7, 2, 2)))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"output":{}}', b'{"output":{},"usage":{"inputTokens":-1}}'])
def test_what_is_no_answer_is_not_passed_on(body: bytes) -> None:
    with pytest.raises(EngineFailed):
        verbatim.whole(body)


@given(st.integers(1, len(WHOLE)))
def test_a_stream_is_the_same_for_every_chunking(size: int) -> None:
    assert read(WHOLE, size) == read(WHOLE)


def test_a_stream_is_bedrocks_own_events_and_ends_with_its_count() -> None:
    started, *deltas, last = read(WHOLE)
    assert started == STARTED
    assert isinstance(last, Finished)
    assert last.usage == Usage(7, 2, 2)
    data = [each.data for each in deltas if isinstance(each, Delta)]
    said = [(kind, json.loads(members)) for each in (*data, last.data) for kind, members in verbatim.events(each)]
    assert [kind for kind, _ in said] == [
        *("messageStart", "contentBlockDelta", "tomorrowsEvent", "contentBlockStop", "messageStop", "metadata")
    ]
    assert said[2][1] == {"tells": {"us": "nothing"}, "p": "abcd"}
    assert [each.tokens for each in deltas if isinstance(each, Delta)] == [0, 1, 0, 0, 0]


def test_nothing_has_begun_before_there_is_something_of_the_answer() -> None:
    assert read(BEGINS) == []
    assert [type(each) for each in read(BEGINS + PIECE)] == [Started, Delta, Delta]


def test_a_stream_without_its_count_was_cut() -> None:
    frames = Frames(verbatim.Reader(STARTED), ON_HAIKU)
    list(frames.feed(BEGINS + PIECE + ENDS))
    with pytest.raises(EngineFailed):
        list(frames.end())


def test_an_exception_in_a_stream_is_what_it_is_before_it() -> None:
    events, refusal = ending(iter(read(BEGINS)))
    assert (events, refusal) == ([], None)
    with pytest.raises(NoCapacity):
        read(BEGINS + PIECE + exception("throttlingException", message="too many"))


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b'{"usage":7}', b'{"usage":{"outputTokens":"x"}}'])
def test_an_event_that_is_garbage_is_a_failed_engine(payload: bytes) -> None:
    with pytest.raises(EngineFailed):
        list(verbatim.Reader(STARTED).read("metadata", payload))
