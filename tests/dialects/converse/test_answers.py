"""Converse's answers as OpenAI's."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.call import Delta, Event, Finished, Started, Usage
from chalicelib.dialects.converse.answers import Heading, Reader, whole
from chalicelib.dialects.names import Names
from chalicelib.refusal import EngineFailed

STARTED = Started("us")
HEADING = Heading("chatcmpl-1", "model-a", 1_700_000_000)
USED = {"inputTokens": 5, "outputTokens": 2, "totalTokens": 10, "cacheReadInputTokens": 3}
TEXT = {"text": "It is cold."}
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "s"}}}
CALL = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Bern"}}}
BARE_CALL = {"toolUse": {"toolUseId": "t2", "name": "time", "input": {}}}


def answered(*blocks: dict[str, Any], stop: str = "end_turn") -> tuple[Any, Finished]:
    message = {"role": "assistant", "content": list(blocks)}
    delta, finished = whole(
        json.dumps({"output": {"message": message}, "stopReason": stop, "usage": USED, "metrics": {}}).encode(), HEADING
    )
    return json.loads(delta.data), finished


def streamed(*blocks: dict[str, Any], stop: str = "end_turn", piece: int = 3) -> list[Event]:
    """The events that a stream of these blocks makes, texts in pieces of so many characters."""
    told: list[tuple[str, dict[str, Any]]] = [("messageStart", {"role": "assistant"})]
    for index, block in enumerate(blocks):
        at = {"contentBlockIndex": index}
        if "toolUse" in block:
            begun = {name: block["toolUse"][name] for name in ("toolUseId", "name")}
            told.append(("contentBlockStart", {"start": {"toolUse": begun}, **at}))
        told += [("contentBlockDelta", {"delta": delta, **at}) for delta in _deltas(block, piece)]
        told.append(("contentBlockStop", at))
    told.append(("messageStop", {"stopReason": stop}))
    told.append(("metadata", {"usage": USED, "metrics": {"latencyMs": 1}}))
    return events(told)


def _deltas(block: dict[str, Any], piece: int) -> list[dict[str, Any]]:
    if "toolUse" in block:
        given = msgspec.json.encode(block["toolUse"]["input"]).decode()
        return [{"toolUse": {"input": part}} for part in _pieces("" if given == "{}" else given, piece)]
    if "reasoningContent" in block:
        thought = block["reasoningContent"]["reasoningText"]["text"]
        return [{"reasoningContent": {"text": part}} for part in _pieces(thought, piece)]
    return [{"text": part} for part in _pieces(block["text"], piece)]


def _pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def events(told: list[tuple[str, dict[str, Any]]]) -> list[Event]:
    reader = Reader(STARTED, HEADING)
    return [event for kind, payload in told for event in reader.read(kind, json.dumps(payload | {"p": "ab"}).encode())]


def together(found: list[Event]) -> dict[str, Any]:
    """The message that the chunks of a stream make, as a client puts it together."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for event in found:
        if not isinstance(event, Delta):
            continue
        delta = json.loads(event.data)["choices"][0]["delta"]
        for name in ("content", "reasoning_content"):
            if delta.get(name):
                message[name] = (message.get(name) or "") + delta[name]
        for call in delta.get("tool_calls", ()):
            calls = message.setdefault("tool_calls", [])
            if "id" in call:
                assert call["index"] == len(calls)
                calls.append({"id": call["id"], "type": call["type"], "function": dict(call["function"])})
            else:
                calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return message


def test_a_whole_answer_has_everything_in_its_place() -> None:
    answer, finished = answered(THOUGHT, TEXT, CALL, stop="tool_use")
    assert answer == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "model-a",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "It is cold.",
                    "reasoning_content": "Hm.",
                    "tool_calls": [
                        {
                            "id": "t1",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city":"Bern"}'},
                        }
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {
            "prompt_tokens": 8,
            "completion_tokens": 2,
            "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 3},
        },
    }
    assert finished == Finished(Usage(8, 2, 3))


BLOCKS = st.one_of(
    st.text(min_size=1).map(lambda text: {"text": text}),
    st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2).map(
        lambda given: {"toolUse": {"toolUseId": "t", "name": "f", "input": given}}
    ),
    st.text(min_size=1).map(lambda text: {"reasoningContent": {"reasoningText": {"text": text}}}),
)


@given(st.lists(BLOCKS, max_size=4), st.integers(1, 5))
def test_a_stream_is_the_same_message_as_the_whole(blocks: list[dict[str, Any]], piece: int) -> None:
    assert together(streamed(*blocks, piece=piece)) == answered(*blocks)[0]["choices"][0]["message"]


def test_a_stream_begins_with_its_first_piece_and_ends_with_the_usage() -> None:
    started, *_, finished = streamed(TEXT)
    assert started is STARTED
    assert isinstance(finished, Finished)
    assert finished.usage == Usage(8, 2, 3)
    chunk = json.loads(finished.data)
    assert chunk["choices"] == []
    assert chunk["usage"]["prompt_tokens"] == 8
    assert events([("messageStart", {"role": "assistant"})]) == []


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert together(streamed(BARE_CALL))["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("of next year", "stop"),
    ],
)
def test_the_reason_of_the_end_is_in_openais_words(stop: str, reason: str) -> None:
    assert answered(TEXT, stop=stop)[0]["choices"][0]["finish_reason"] == reason
    last = streamed(TEXT, stop=stop)[-2]
    assert isinstance(last, Delta)
    assert json.loads(last.data)["choices"][0]["finish_reason"] == reason


def test_a_stream_without_its_metadata_is_a_failed_engine() -> None:
    with pytest.raises(EngineFailed):
        Reader(STARTED, HEADING).end()


@pytest.mark.parametrize(
    "told",
    [
        b"no json",
        b'{"contentBlockIndex": -1}',
        b'{"contentBlockIndex": 0, "delta": {"toolUse": {"input": "of no call"}}}',
        b'{"delta": {"text": 7}}',
    ],
)
def test_garbage_is_a_failed_engine(told: bytes) -> None:
    with pytest.raises(EngineFailed):
        list(Reader(STARTED, HEADING).read("contentBlockDelta", told))


@pytest.mark.parametrize(
    "answer",
    [b"", b"\xff", b"<html>", b"7", b"{}", b'{"output":{}}', b'{"output":{"message":{"content":[{"text":7}]}}}'],
)
def test_a_whole_answer_that_is_none_is_a_failed_engine(answer: bytes) -> None:
    with pytest.raises(EngineFailed):
        whole(answer, HEADING)


def test_events_and_blocks_that_nobody_knows_are_passed_over() -> None:
    assert events([("citationOfNextYear", {"delta": {"citation": {}}})]) == []
    assert answered({"citationsContent": {}}, TEXT)[0]["choices"][0]["message"]["content"] == "It is cold."


def named(*callers: str) -> tuple[Heading, list[str]]:
    """A heading that knows these names of the caller's, and what Converse knows them by."""
    names = Names()
    return Heading("chatcmpl-1", "model-a", 1_700_000_000, names), [names.call(each) for each in callers]


def test_what_converse_knows_by_an_alias_is_the_callers_again() -> None:
    heading, [name, tool] = named("functions.Bash:0", "files/read")
    call = {"toolUse": {"toolUseId": name, "name": tool, "input": {}}}
    message = {"output": {"message": {"content": [call]}}, "stopReason": "tool_use", "usage": USED}
    [whole_call] = json.loads(whole(json.dumps(message).encode(), heading)[0].data)["choices"][0]["message"][
        "tool_calls"
    ]
    reader = Reader(STARTED, heading)
    start = {"start": {"toolUse": {"toolUseId": name, "name": tool}}, "contentBlockIndex": 0}
    *_, last = list(reader.read("contentBlockStart", json.dumps(start).encode()))
    assert isinstance(last, Delta)
    [streamed_call] = json.loads(last.data)["choices"][0]["delta"]["tool_calls"]
    for made in (whole_call, streamed_call):
        assert (made["id"], made["function"]["name"]) == ("functions.Bash:0", "files/read")


def test_who_asked_with_functions_is_answered_with_one_call() -> None:
    heading = msgspec.structs.replace(HEADING, functions=True)
    said = {"output": {"message": {"content": [TEXT, CALL, BARE_CALL]}}, "stopReason": "tool_use", "usage": USED}
    choice = json.loads(whole(json.dumps(said).encode(), heading)[0].data)["choices"][0]
    assert choice["message"]["function_call"] == {"name": "weather", "arguments": '{"city":"Bern"}'}
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "function_call"


def test_who_asked_with_functions_is_streamed_one_call() -> None:
    reader = Reader(STARTED, msgspec.structs.replace(HEADING, functions=True))
    told: list[tuple[str, dict[str, Any]]] = []
    for block, name in enumerate(("weather", "time")):
        at = {"contentBlockIndex": block}
        told.append(("contentBlockStart", {"start": {"toolUse": {"toolUseId": "t", "name": name}}, **at}))
        told.append(("contentBlockDelta", {"delta": {"toolUse": {"input": '{"a":1}'}}, **at}))
        told.append(("contentBlockStop", at))
    told.append(("messageStop", {"stopReason": "tool_use"}))
    deltas = [event for kind, said in told for event in reader.read(kind, json.dumps(said).encode())]
    choices = [json.loads(event.data)["choices"][0] for event in deltas if isinstance(event, Delta)]
    pieces = [choice["delta"]["function_call"] for choice in choices if "function_call" in choice["delta"]]
    assert pieces == [{"name": "weather", "arguments": ""}, {"arguments": '{"a":1}'}]
    assert choices[-1]["finish_reason"] == "function_call"
    assert not any("tool_calls" in choice["delta"] for choice in choices)
