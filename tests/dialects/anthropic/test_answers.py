"""What a chat answers reads as a Message: whole, streamed in any pieces, or counted."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.call import Delta, Event, Finished, Started, Usage, Waiting
from chalicelib.dialects import openai
from chalicelib.dialects.anthropic.answers import Answered
from chalicelib.pool import OpenAICompatible
from chalicelib.refusal import EngineFailed
from tests.engines.answers import Chat
from tests.engines.messages import asked

TARGET = OpenAICompatible("gpu-1", url="http://10.0.0.7:8000/v1")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def whole(message: dict[str, Any], finish: str | None = "stop", **choice: Any) -> Any:
    """The Message made of a whole chat."""
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    body = {"choices": [{"message": message, "finish_reason": finish, **choice}], "usage": usage}
    events = openai.buffered(msgspec.json.encode(body), TARGET)
    answer, finished = Answered(Chat(events), asked())
    assert isinstance(answer, Delta)
    assert finished == Finished(Usage(7, 2))
    return msgspec.json.decode(answer.data)


def chunks(deltas: Sequence[dict[str, Any]], finish: str = "stop", **choice: Any) -> bytes:
    """The bytes of a streamed chat that gains `deltas`."""
    choices = [{"delta": delta} for delta in deltas] + [{"delta": {}, "finish_reason": finish, **choice}]
    bodies = [{"choices": [each]} for each in choices]
    bodies.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})  # type: ignore[dict-item]
    events = [b"data: " + msgspec.json.encode(body) + b"\n\n" for body in bodies]
    return b"".join([*events, b"data: [DONE]\n\n"])


def streamed(data: bytes, cuts: Iterable[int] = ()) -> list[Event]:
    """The events of the Message made of a streamed chat, whose bytes arrive cut anywhere."""

    def events() -> Iterator[Event]:
        translator = openai.Translator(TARGET, "i-1")
        edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
        for start, end in pairwise(edges):
            yield from translator.feed(data[start:end])
        if not translator.done:
            yield from translator.end()

    return list(Answered(Chat(events()), asked(stream=True)))


def told(events: Iterable[Event]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(event.data) for event in events if isinstance(event, Delta)]


def put_together(events: Iterable[Event]) -> Any:
    """The Message that Anthropic's own SDK makes of the events."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in events:
        if isinstance(event, Delta):
            snapshot = accumulate_event(
                event=msgspec.json.decode(event.data), current_snapshot=snapshot, json_bufs=buffers
            )
    message = Message.model_validate(snapshot.to_dict())
    return message.model_dump(mode="json", exclude_none=True)


def test_a_chat_reads_as_a_message() -> None:
    assert whole({"content": "Hello there"}) == {
        "id": "msg_req-1",
        "type": "message",
        "role": "assistant",
        "model": "model-a",
        "content": [{"type": "text", "text": "Hello there"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 2},
    }


@pytest.mark.parametrize(
    ("finish", "choice", "reason", "sequence"),
    [
        ("stop", {}, "end_turn", None),
        ("stop", {"stop_reason": "END"}, "stop_sequence", "END"),  # vLLM
        ("stop", {"matched_stop": "END"}, "stop_sequence", "END"),  # SGLang
        ("stop", {"stop_reason": 128009}, "end_turn", None),  # a token that ends
        ("length", {}, "max_tokens", None),
        ("content_filter", {}, "refusal", None),
        ("something_new", {}, "end_turn", None),
        (None, {}, "end_turn", None),
    ],
)
def test_why_it_stopped_is_said_in_anthropics_words(finish: Any, choice: Any, reason: str, sequence: Any) -> None:
    message = whole({"content": "x"}, finish, **choice)
    assert (message["stop_reason"], message["stop_sequence"]) == (reason, sequence)
    if finish is not None:
        end = told(streamed(chunks([{"content": "x"}], finish, **choice)))[-2]
        assert end["delta"] == {"stop_reason": reason, "stop_sequence": sequence}


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ('{"a": "cut o', {"INVALID_JSON": '{"a": "cut o'}),
        ("[1]", {"INVALID_JSON": "[1]"}),
    ],
)
def test_a_tools_input_is_an_object_whatever_the_model_wrote(arguments: str, given: Any) -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    message = whole({"content": None, "tool_calls": [call]}, "stop")
    assert message["content"] == [{"type": "tool_use", "id": "t1", "name": "weather", "input": given}]
    assert message["stop_reason"] == "tool_use"


def test_what_was_read_from_a_cache_is_counted_apart() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 5}}
    told_of_it = {"input_tokens": 2, "cache_read_input_tokens": 5, "output_tokens": 2}
    choice = {"message": {"content": "x"}, "finish_reason": "stop"}
    body = msgspec.json.encode({"choices": [choice], "usage": usage})
    answer, finished = Answered(Chat(openai.buffered(body, TARGET)), asked())
    assert isinstance(answer, Delta)
    assert msgspec.json.decode(answer.data)["usage"] == told_of_it
    assert finished == Finished(Usage(7, 2, 5))
    last = b"data: " + msgspec.json.encode({"choices": [], "usage": usage}) + b"\n\ndata: [DONE]\n\n"
    assert told(streamed(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n' + last))[-2]["usage"] == told_of_it


def test_a_stream_has_anthropics_events_in_their_order() -> None:
    deltas = [{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}]
    call = {"index": 0, "id": "t1", "function": {"name": "weather", "arguments": ""}}
    events = told(
        streamed(
            chunks(
                [
                    *deltas,
                    {"tool_calls": [call]},
                    {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]},
                ],
                "tool_calls",
            )
        )
    )
    assert [event["type"] for event in events] == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
        "message_delta",
        "message_stop",
    ]
    assert events[-2]["usage"] == {"input_tokens": 7, "output_tokens": 2}
    assert [event["index"] for event in events if "index" in event] == [0, 0, 0, 0, 1, 1, 1]


def test_waiting_and_starting_pass_as_they_are() -> None:
    data = b": queue_position=2 predicted_start_ms=900\n\n" + chunks([{"content": "x"}])
    assert streamed(data)[:2] == [Waiting(2, 900, "i-1"), Started("i-1")]


def test_every_token_is_counted_once_while_it_streams() -> None:
    call = {"index": 0, "id": "t", "function": {"name": "n"}}
    data = chunks([{"reasoning": "hm"}, {"content": "a"}, {"content": "b"}, {"tool_calls": [call]}])
    events = streamed(data)
    assert sum(event.tokens for event in events if isinstance(event, Delta)) == 4
    assert events[-1] == Finished(Usage(7, 2))


def test_without_a_count_of_the_server_the_message_says_what_will_be_charged() -> None:
    data = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n'
    events = streamed(data)
    assert told(events)[-2]["usage"] == {"input_tokens": 4, "output_tokens": 1}
    assert events[-1] == Finished(None)


@st.composite
def answers(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A chat's message, and the same in pieces, as a server streams it."""

    def pieces(text: str) -> list[str]:
        cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)) | {0, len(text)})
        return [text[start:end] for start, end in pairwise(cuts)]

    message: dict[str, Any] = {"role": "assistant"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for member in ("reasoning_content", "content"):
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
    expected = Message.model_validate(whole(message)).model_dump(mode="json", exclude_none=True)
    assert put_together(streamed(chunks(deltas), cuts)) == expected


def test_a_count_tells_the_servers_and_charges_the_prompt_alone() -> None:
    body = {"choices": [{"message": {"content": "H"}}], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}
    events = (Started("i-1"), *openai.buffered(msgspec.json.encode(body), TARGET))
    assert list(Answered(Chat(events), asked("messages.count_tokens"))) == [
        Started("i-1"),
        Delta(b'{"input_tokens":7}'),
        Finished(Usage(7)),
    ]


def test_a_server_that_does_not_count_gives_no_count() -> None:
    events = openai.buffered(b'{"choices":[{"message":{"content":"H"}}]}', TARGET)
    with pytest.raises(EngineFailed):
        list(Answered(Chat(events), asked("messages.count_tokens")))


@pytest.mark.parametrize(
    "data", [b'{"choices":3}', b'{"choices":[{"message":{"content":[1]}}]}', b'{"choices":[{"message":"\xff"}]}']
)
def test_an_answer_that_is_no_chat_is_the_engines_failure(data: bytes) -> None:
    with pytest.raises(EngineFailed):
        list(Answered(Chat((Delta(data), Finished(None))), asked()))


def piece(index: Any = 0, call: str | None = None, name: str | None = None, arguments: Any = None) -> dict[str, Any]:
    """A delta with one fragment of a call; what is None is not in it."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    known = {key: value for key, value in (("index", index), ("id", call)) if value is not None}
    return {"tool_calls": [{**known, "function": function} if function else known]}


SUN, RAIN = ("sun", {"at": "noon"}), ("rain", {"at": "night"})
TWICE = ("sun", {"at": "noon"}), ("sun", {"at": "night"})
NOON, NIGHT = '{"at": "noon"}', '{"at": "night"}'


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        pytest.param([piece(0, "a", "sun", NOON), piece(0, "b", "rain", NIGHT)], (SUN, RAIN), id="all numbered 0"),
        pytest.param([piece(None, "a", "sun", NOON), piece(None, "b", "rain", NIGHT)], (SUN, RAIN), id="not numbered"),
        pytest.param([piece(0, "a", "sun", NOON), piece(0, "b", "sun", NIGHT)], TWICE, id="the same tool twice"),
        pytest.param(
            [piece(0, "a", "sun", NOON[:5]), piece(0, None, None, NOON[5:]), piece(0, "b", "rain", NIGHT)],
            (SUN, RAIN),
            id="all numbered 0, in pieces",
        ),
        pytest.param(
            [
                piece(0, "a", "sun", ""),
                piece(1, "b", "rain", ""),
                piece(0, None, None, NOON),
                piece(1, None, None, NIGHT),
            ],
            (SUN, RAIN),
            id="both begun, then both filled",
        ),
        pytest.param(
            [
                *(piece(0, "a", "sun", NOON[:4]), piece(1, "b", "rain", NIGHT[:4])),
                *(piece(1, None, None, NIGHT[4:]), piece(0, None, None, NOON[4:])),
            ],
            (SUN, RAIN),
            id="interleaved",
        ),
        pytest.param(
            [{"tool_calls": [*piece(1, "b", "rain", NIGHT)["tool_calls"], *piece(0, "a", "sun", NOON)["tool_calls"]]}],
            (RAIN, SUN),
            id="in one chunk, the second first",
        ),
        pytest.param(
            [piece(0, "a", "sun", NOON[:4]), {"content": "wait"}, piece(0, None, None, NOON[4:])],
            (SUN,),
            id="text in between",
        ),
        pytest.param([piece(0, "a", "sun", {"at": "noon"})], (SUN,), id="an object"),
        pytest.param(
            [piece(None, None, "sun", {"at": "noon"}), piece(None, None, "sun", {"at": "night"})],
            TWICE,
            id="objects, without ids and numbers",
        ),
        pytest.param([piece(0, "a", "sun"), piece(0, "", None, NOON)], (SUN,), id="an empty id"),
        pytest.param(
            [piece(0, "a", "sun", NOON[:4]), piece(0, "a", "sun", NOON[4:])], (SUN,), id="id and name repeated"
        ),
        pytest.param(
            [piece(0, "a", "sun", NOON[:4]), piece(0, "b", None, NOON[4:])], (SUN,), id="an id for each fragment"
        ),
        pytest.param([piece(0, "a"), piece(0, None, "sun"), piece(0, None, None, NOON)], (SUN,), id="the name later"),
        pytest.param(
            [piece(0, "a", "sun", NOON[:4]), piece(None, None, None, NOON[4:])], (SUN,), id="numbered once only"
        ),
        pytest.param([piece(0, "a", "sun"), piece(1, "b", "rain")], (("sun", {}), ("rain", {})), id="no arguments"),
    ],
)
def test_no_call_of_a_stream_is_lost_however_the_server_numbers_it(
    deltas: list[dict[str, Any]], calls: tuple[tuple[str, Any], ...]
) -> None:
    message = put_together(streamed(chunks(deltas, "tool_calls")))
    used = [block for block in message["content"] if block["type"] == "tool_use"]
    assert tuple((block["name"], block["input"]) for block in used) == calls
    assert len({block["id"] for block in used}) == len(calls)
    assert message["stop_reason"] == "tool_use"
    assert all(block.get("text") == "wait" for block in message["content"] if block["type"] == "text")


@pytest.mark.parametrize("index", [0, None])
@pytest.mark.parametrize("as_object", [True, False])
def test_no_call_of_a_whole_answer_is_lost_however_the_server_numbers_it(index: int | None, as_object: bool) -> None:
    fragments = [
        {"index": index, "id": call, "function": {"name": name, "arguments": given if as_object else encoded(given)}}
        for call, (name, given) in (("a", SUN), ("b", RAIN))
    ]
    message = whole({"tool_calls": fragments}, "tool_calls")
    assert [(block["id"], block["name"], block["input"]) for block in message["content"]] == [
        ("a", *SUN),
        ("b", *RAIN),
    ]


def encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def test_a_call_is_told_as_it_grows_while_no_other_waits() -> None:
    events = told(streamed(chunks([piece(0, "a", "sun", '{"at'), piece(0, None, None, '": 1}')], "tool_calls")))
    gained = [event["delta"]["partial_json"] for event in events if event["type"] == "content_block_delta"]
    assert gained == ['{"at', '": 1}']


@given(st.data())
def test_calls_that_are_interleaved_in_any_way_are_the_same_calls(data: st.DataObject) -> None:
    pieces = [
        [piece(number, f"t{number}", "f", ""), *(piece(number, None, None, each) for each in encoded({"n": number}))]
        for number in range(3)
    ]
    order = data.draw(st.permutations([number for number, each in enumerate(pieces) for _ in each]))
    rest = [iter(each) for each in pieces]
    message = put_together(streamed(chunks([next(rest[number]) for number in order], "tool_calls")))
    assert sorted((block["id"], block["input"]["n"]) for block in message["content"]) == [
        (f"t{number}", number) for number in range(3)
    ]


def test_closing_it_closes_the_chat() -> None:
    stream = Chat(())
    Answered(stream, asked()).close()
    assert stream.closed
