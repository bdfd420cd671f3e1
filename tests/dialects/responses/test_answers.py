"""What a chat answers reads as a Response: whole, or streamed in any pieces, as OpenAI's own SDK puts it together."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import NOT_GIVEN
from openai._models import construct_type_unchecked
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent

from chalicelib.call import Delta, Event, Finished, Started, Usage, Waiting
from chalicelib.dialects import openai
from chalicelib.dialects.responses.answers import Answered, broken
from chalicelib.pool import OpenAICompatible
from chalicelib.refusal import EngineFailed
from tests.engines.answers import Chat
from tests.engines.responses import STREAM, asked

TARGET = OpenAICompatible("gpu-1", url="http://10.0.0.7:8000/v1")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
USAGE = {"prompt_tokens": 7, "completion_tokens": 2}
PATCH = {"type": "custom", "name": "patch"}


def whole(message: dict[str, Any], finish: str | None = "stop", *, usage: Any = USAGE, **fields: Any) -> Any:
    """The Response made of a whole chat."""
    body = {"created": 1_795_000_000, "choices": [{"message": message, "finish_reason": finish}], "usage": usage}
    events = openai.buffered(msgspec.json.encode(body), TARGET)
    answer, finished = Answered(Chat(events), asked(**fields))
    assert isinstance(answer, Delta)
    assert isinstance(finished, Finished)
    assert finished.usage is not None
    assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (7, 2)
    return msgspec.json.decode(answer.data)


def chunks(deltas: Sequence[dict[str, Any]], finish: str = "stop", usage: Any = USAGE) -> bytes:
    """The bytes of a streamed chat that gains `deltas`."""
    choices = [{"delta": delta} for delta in deltas] + [{"delta": {}, "finish_reason": finish}]
    bodies: list[Any] = [{"created": 1_795_000_000, "choices": [each]} for each in choices]
    bodies.append({"choices": [], "usage": usage})
    events = [b"data: " + msgspec.json.encode(body) + b"\n\n" for body in bodies]
    return b"".join([*events, b"data: [DONE]\n\n"])


def streamed(data: bytes, cuts: Iterable[int] = (), **fields: Any) -> list[Event]:
    """The events of the Response made of a streamed chat, whose bytes arrive cut anywhere."""

    def events() -> Iterator[Event]:
        translator = openai.Translator(TARGET, "i-1")
        edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
        for start, end in pairwise(edges):
            yield from translator.feed(data[start:end])
        if not translator.done:
            yield from translator.end()

    return list(Answered(Chat(events()), asked(stream=True, **fields)))


def told(events: Iterable[Event]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(event.data) for event in events if isinstance(event, Delta)]


def put_together(events: Iterable[Event]) -> Any:
    """The Response that OpenAI's own SDK makes of the events, each of which it knows; and the same from its deltas."""
    state: Any = ResponseStreamState(input_tools=NOT_GIVEN, text_format=NOT_GIVEN)
    for number, each in enumerate(told(events)):
        assert each["sequence_number"] == number
        event: Any = construct_type_unchecked(type_=ResponseStreamEvent, value=each)
        assert event.type == each["type"]
        type(event).model_validate(each)
        state.handle_event(event)
    return state._completed_response.model_dump(mode="json", exclude_none=True)


def call(name: str = "weather", arguments: Any = "{}", **members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **members}


def item(call_id: str, arguments: str = "{}", name: str = "weather", index: int = 0) -> dict[str, Any]:
    about = {"id": f"fc_req-1_{index}", "type": "function_call", "status": "completed"}
    return {**about, "call_id": call_id, "name": name, "arguments": arguments}


def test_a_chat_reads_as_a_response() -> None:
    text = {"type": "output_text", "text": "Hello there", "annotations": [], "logprobs": []}
    message = {"id": "msg_req-1_0", "type": "message", "role": "assistant", "content": [text], "status": "completed"}
    response = whole({"content": "Hello there"})
    assert response == {
        "id": "resp_req-1",
        "object": "response",
        "created_at": 1_795_000_000,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": "model-a",
        "output": [message],
        "previous_response_id": None,
        "service_tier": "default",
        "store": False,
        "text": {"format": {"type": "text"}},
        "top_logprobs": 0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 7,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 9,
        },
        "instructions": None,
        "max_output_tokens": 16,
        "max_tool_calls": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "user": None,
    }
    Response.model_validate(response)


def test_a_response_repeats_what_was_asked() -> None:
    given: dict[str, Any] = {
        "instructions": "Be brief.",
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low"},
        "temperature": 0.5,
        "tool_choice": "none",
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": False}],
        "user": "u-1",
        "store": True,
        "previous_response_id": "resp_0",
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
    }
    response = whole({"content": "{}"}, **given)
    assert {name: response[name] for name in given} == given


def test_what_is_repeated_keeps_an_event_in_one_piece() -> None:
    request = asked(stream=True)
    odd = msgspec.structs.replace(request, fields={**request.fields, "metadata": msgspec.Raw(b'{\r\n"a":\r"b"\n}')})
    events = [event for event in Answered(Chat((Started("i"), Finished(Usage(1, 1)))), odd) if isinstance(event, Delta)]
    assert all(not {*b"\r\n"} & {*event.data} for event in events)
    assert told(events)[0]["response"]["metadata"] == {"a": "b"}


@pytest.mark.parametrize(
    ("finish", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("something_new", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
@pytest.mark.parametrize("said", [{"content": "x"}, {"tool_calls": [call(id="t1")]}, {"reasoning": "hm"}])
def test_how_it_ended_is_said_in_a_responses_words(finish: str, status: str, details: Any, said: Any) -> None:
    for response in (whole(said, finish), told(streamed(chunks([said], finish)))[-1]["response"]):
        assert (response["status"], response["incomplete_details"]) == (status, details)
        assert [each["status"] for each in response["output"]] == [status]
    assert told(streamed(chunks([said], finish)))[-1]["type"] == f"response.{status}"


def test_usage_has_its_details() -> None:
    usage = {
        **USAGE,
        "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    in_last_chunk = chunks([{"content": "x"}])[: -len(b"data: [DONE]\n\n")]
    last = b'data: {"choices":[{"delta":{}}],"usage":' + msgspec.json.encode(usage) + b"}\n\ndata: [DONE]\n\n"
    for response in (
        whole({"content": "x"}, usage=usage),
        told(streamed(chunks([{"content": "x"}], usage=usage)))[-1]["response"],
        told(streamed(in_last_chunk + last))[-1]["response"],
    ):
        assert response["usage"]["input_tokens_details"]["cached_tokens"] == 5
        assert response["usage"]["output_tokens_details"]["reasoning_tokens"] == 1


@pytest.mark.parametrize("details", [None, [], {"cached_tokens": None}, {"cached_tokens": "5"}, {"cached_tokens": -1}])
def test_details_that_are_odd_cost_no_answer(details: Any) -> None:
    response = whole({"content": "x"}, usage={**USAGE, "prompt_tokens_details": details})
    assert response["usage"]["input_tokens_details"]["cached_tokens"] == 0


def test_a_stream_has_openais_events_in_their_order() -> None:
    deltas = [{"role": "assistant", "content": ""}, {"content": "Hello"}, {"content": " there"}]
    events = told(streamed(chunks(deltas)))
    assert tuple(event["type"] for event in events) == STREAM
    assert [event["sequence_number"] for event in events] == [*range(10)]


def test_thoughts_texts_and_calls_are_items_of_their_own() -> None:
    deltas: list[dict[str, Any]] = [
        {"reasoning_content": "h"},
        {"reasoning": "m"},
        {"content": "Wait."},
        {"refusal": "No."},
        {"tool_calls": [call(arguments="", index=0, id="t1")]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {"content": "Done."},
    ]
    response = told(events := streamed(chunks(deltas)))[-1]["response"]
    assert [each["type"] for each in response["output"]] == ["reasoning", "message", "function_call", "message"]
    assert response["output"][0]["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert [part["type"] for part in response["output"][1]["content"]] == ["output_text", "refusal"]
    assert response["output"][1]["content"][1] == {"type": "refusal", "refusal": "No."}
    assert response["output"][2] == item("t1", index=2)
    put_together(events)


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        # As OpenAI does it.
        ([call(arguments="", index=0, id="a"), {"index": 0, "function": {"arguments": '{"x":'}},
          {"index": 0, "function": {"arguments": "1}"}}], [item("a", '{"x":1}')]),
        # Several in one index, or without any: a new id begins a call.
        ([call(index=0, id="a"), call(index=0, id="b")], [item("a"), item("b", index=1)]),
        ([call(id="a"), call(id="b")], [item("a"), item("b", index=1)]),
        ([call(index=None, id="a"), call(index=None, id="b")], [item("a"), item("b", index=1)]),
        ([call(arguments='{"x"', id="a"), {"function": {"arguments": ":1}"}}, call(id="b")],
         [item("a", '{"x":1}'), item("b", index=1)]),
        ([call(arguments="", index=0, id="a"), call(name="", arguments="{}", index=0, id="")], [item("a")]),
        # The id in every piece.
        ([call(arguments="{", id="a"), {"id": "a", "function": {"arguments": "}"}}], [item("a")]),
        ([call(arguments="{", index=0, id="a"), {"index": 0, "id": "a", "function": {"arguments": "}"}}], [item("a")]),
        # In turns.
        ([call(arguments="{", index=0, id="a"), call(arguments="{", index=1, id="b"),
          {"index": 0, "function": {"arguments": "}"}}, {"index": 1, "function": {"arguments": "}"}}],
         [item("a"), item("b", index=1)]),
        ([call(arguments="{", id="a"), call(arguments="{", id="b"), {"id": "a", "function": {"arguments": "}"}},
          {"id": "b", "function": {"arguments": "}"}}], [item("a"), item("b", index=1)]),
        # Without ids, or with the same one twice.
        ([call(index=0), call(index=1)], [item("call_req-1_0"), item("call_req-1_1", index=1)]),
        ([call(), call()], [item("call_req-1_0"), item("call_req-1_1", index=1)]),
        ([call(id="a", index=0), call(id="a", index=1)], [item("a"), item("call_req-1_1", index=1)]),
        # An object; null; nothing.
        ([call(arguments={"x": 1}, index=0, id="a")], [item("a", '{"x":1}')]),
        ([call(arguments=None, index=0, id="a")], [item("a", "")]),
        ([{"index": 0, "id": "a", "function": {"name": "weather"}}], [item("a", "")]),
        # The name comes late, or never.
        ([{"index": 0, "id": "a", "function": {"arguments": "{"}}, call(arguments="}", index=0)], [item("a")]),
        ([{"index": 0, "id": "a", "function": {"arguments": "{}"}}], [item("a", name="")]),
    ],
)  # fmt: skip
def test_calls_are_told_apart_as_servers_write_them(pieces: list[Any], calls: list[Any]) -> None:
    each_alone = streamed(chunks([{"tool_calls": [piece]} for piece in pieces], "tool_calls"))
    together = streamed(chunks([{"tool_calls": pieces}], "tool_calls"))
    for events in (each_alone, together):
        assert told(events)[-1]["response"]["output"] == calls
        put_together(events)
        gained = {each["output_index"]: "" for each in told(events) if each["type"] == "response.output_item.added"}
        for each in told(events):
            if each["type"] == "response.function_call_arguments.delta":
                gained[each["output_index"]] += each["delta"]
        assert list(gained.values()) == [each["arguments"] for each in calls]


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"input":"a \\"b\\""}', 'a "b"'),
        ("just text", "just text"),
        ('{"inp', '{"inp'),
        ('{"input": 3}', '{"input": 3}'),
    ],
)
def test_a_tool_that_takes_any_text_is_called_with_it(arguments: str, given: str) -> None:
    pieces = [{"tool_calls": [call("patch", each, index=0, id="a")]} for each in (arguments[:4], arguments[4:])]
    events = streamed(chunks(pieces), tools=[PATCH])
    whole_call = call("patch", arguments, id="a")
    for response in (told(events)[-1]["response"], whole({"tool_calls": [whole_call]}, tools=[PATCH])):
        (said,) = response["output"]
        assert (said["type"], said["id"], said["call_id"]) == ("custom_tool_call", "ctc_req-1_0", "a")
        assert (said["name"], said["input"]) == ("patch", given)
    put_together(events)


@pytest.mark.parametrize("tool", [PATCH, {"type": "function", "name": "patch"}])
def test_a_tool_of_a_namespace_is_called_in_it(tool: Any) -> None:
    space = {"type": "namespace", "name": "sky", "description": "", "tools": [tool]}
    events = streamed(chunks([{"tool_calls": [call("sky__patch", '{"input":"x"}', index=0, id="a")]}]), tools=[space])
    (said,) = told(events)[-1]["response"]["output"]
    assert (said["namespace"], said["name"], said["call_id"]) == ("sky", "patch", "a")
    put_together(events)


def test_waiting_and_starting_pass_as_they_are() -> None:
    data = b": queue_position=2 predicted_start_ms=900\n\n" + chunks([{"content": "x"}])
    assert streamed(data)[:2] == [Waiting(2, 900, "i-1"), Started("i-1")]


def test_every_token_is_counted_once_while_it_streams() -> None:
    data = chunks([{"reasoning": "hm"}, {"content": "a"}, {"content": "b"}, {"tool_calls": [call(id="t")]}])
    events = streamed(data)
    assert sum(event.tokens for event in events if isinstance(event, Delta)) == 4
    assert events[-1] == Finished(Usage(7, 2))


def test_without_a_count_of_the_server_the_response_says_what_will_be_charged() -> None:
    data = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
    events = streamed(data)
    usage = told(events)[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (4, 1, 5)
    assert events[-1] == Finished(None)


@pytest.mark.parametrize("created", [b"null", b'"today"', b"1e400", b"[]", b"17.5"])
def test_a_server_without_a_clock_costs_no_answer(created: bytes) -> None:
    body = b'{"created":' + created + b',"choices":[{"message":{"content":"x"}}]}'
    (answer, _) = Answered(Chat(openai.buffered(body, TARGET)), asked())
    assert isinstance(answer, Delta)
    assert msgspec.json.decode(answer.data)["created_at"] in (0, 17)


@st.composite
def answers(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A chat's message, and the same in pieces, as a server streams it."""

    def pieces(text: str) -> list[str]:
        cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)) | {0, len(text)})
        return [text[start:end] for start, end in pairwise(cuts)]

    message: dict[str, Any] = {"role": "assistant"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for member in ("reasoning_content", "content", "refusal"):
        if text := draw(st.one_of(st.just(""), TEXT)):
            message[member] = text
            deltas += [{member: piece} for piece in pieces(text)]
    for index in range(draw(st.integers(0, 3))):
        arguments = msgspec.json.encode(draw(st.dictionaries(TEXT, TEXT, max_size=2))).decode()
        head = {"id": f"t{index}", "type": "function"}
        message.setdefault("tool_calls", []).append({**head, "function": {"name": "f", "arguments": arguments}})
        deltas.append({"tool_calls": [{"index": index, **head, "function": {"name": "f", "arguments": ""}}]})
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces(arguments)]
    return message, deltas


@given(answers(), st.lists(st.integers(0, 4_000)))
def test_a_stream_put_together_is_the_whole_answer_however_it_was_cut(
    answer: tuple[dict[str, Any], list[dict[str, Any]]], cuts: list[int]
) -> None:
    message, deltas = answer
    expected = Response.model_validate(whole(message)).model_dump(mode="json", exclude_none=True)
    events = streamed(chunks(deltas), cuts)
    assert put_together(events) == expected
    assert told(events)[-1]["response"]["output"] == expected["output"]


@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":3}',
        b'{"choices":[{"message":{"content":[1]}}]}',
        b'{"choices":[{"message":"\xff"}]}',
        b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"\xff"}}]}}]}',
        b'{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"\xff":1}}}]}}]}',
    ],
)
def test_an_answer_that_is_no_chat_is_the_engines_failure(data: bytes) -> None:
    with pytest.raises(EngineFailed):
        list(Answered(Chat((Delta(data), Finished(None))), asked()))


def test_a_stream_that_broke_ends_as_openais_do() -> None:
    first = streamed(chunks([{"content": "x"}]))[1]
    assert isinstance(first, Delta)
    error, failed = map(msgspec.json.decode, broken(first.data, 5, "server_error", "It broke.", None, "req-1"))
    said = {"code": "server_error", "message": "It broke.", "param": None}
    below = {"type": "server_error", **said, "request_id": "req-1"}
    assert error == {"type": "error", "sequence_number": 5, **said, "error": below}
    assert (failed["type"], failed["sequence_number"]) == ("response.failed", 6)
    assert (failed["response"]["id"], failed["response"]["status"]) == ("resp_req-1", "failed")
    assert failed["response"]["error"] == {"code": "server_error", "message": "It broke."}
    assert len([*broken(b"", 0, "server_error", "It broke.", None, "req-1")]) == 1


def test_closing_it_closes_the_chat() -> None:
    stream = Chat(())
    Answered(stream, asked()).close()
    assert stream.closed
