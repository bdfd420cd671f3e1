"""What is asked as a Message arrives as a chat, and what a chat answers reads as a Message: nothing is lost."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.call import Call, Delta, Event, Finished, Operation, Started, Usage, Waiting
from chalicelib.engines import openai_wire
from chalicelib.engines.anthropic_wire import Answered, as_chat
from chalicelib.placement.pool import Target
from chalicelib.refusal import EngineFailed, Malformed

TARGET = Target("gpu-1", "openai_compatible")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
HELLO = [{"role": "user", "content": "Hello"}]
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
WEATHER = {"name": "weather", "description": "Tells it.", "input_schema": {"type": "object"}}


def asked(operation: Operation = "messages", *, stream: bool = False, **fields: Any) -> Call:
    """A call as the surface makes it."""
    body = {"model": "model-a", "messages": HELLO, "max_tokens": 16, **fields}
    return Call(
        request_id="req-1",
        operation=operation,
        pool="model-a",
        fields={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()},
        stream=stream,
        prompt_tokens=4,
        ceiling_tokens=0 if operation == "messages.count_tokens" else 16,
        choices=1,
        tenant_tag="tag-1",
    )


def chat(**fields: Any) -> Any:
    """What an OpenAI-compatible server is sent."""
    return msgspec.json.decode(as_chat(asked(**fields)).wire("org/model"))


class Chat:
    """A chat's stream, as an engine gives it."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = events
        self.closed = False

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def close(self) -> None:
        self.closed = True


def whole(message: dict[str, Any], finish: str | None = "stop", **choice: Any) -> Any:
    """The Message made of a whole chat."""
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    body = {"choices": [{"message": message, "finish_reason": finish, **choice}], "usage": usage}
    events = openai_wire.buffered(msgspec.json.encode(body), TARGET)
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
        translator = openai_wire.Translator(TARGET, "i-1")
        edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
        for start, end in pairwise(edges):
            yield from translator.feed(data[start:end])
        translator.end()

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


# What is asked


def test_a_message_is_asked_as_a_chat() -> None:
    said = chat(
        system="Be brief.", temperature=0.5, top_p=0.9, top_k=3, stop_sequences=["END"], metadata={"user_id": "u"}
    )
    assert said == {
        "model": "org/model",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "max_tokens": 16,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
        "stop": ["END"],
    }


def test_a_streamed_message_is_asked_as_a_streamed_chat_with_its_usage() -> None:
    said = chat(stream=True)
    assert (said["stream"], said["stream_options"]) == (True, {"include_usage": True})


def test_what_is_cached_at_anthropic_is_plain_text_here() -> None:
    block = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    said = chat(system=[block, {**block, "text": "Be kind."}], cache_control={"type": "ephemeral"})
    assert said["messages"][0] == {"role": "system", "content": "Be brief.\nBe kind."}
    assert "cache_control" not in said


def test_members_that_nobody_here_knows_reach_the_server_as_they_are() -> None:
    assert chat(min_p=0.1, chat_template_kwargs={"x": 1})["chat_template_kwargs"] == {"x": 1}


@pytest.mark.parametrize(
    ("source", "url"),
    [
        (IMAGE["source"], "data:image/png;base64,iVBORw0KGgo="),
        ({"type": "url", "url": "https://example.com/a.png"}, "https://example.com/a.png"),
    ],
)
def test_an_image_is_shown(source: Any, url: str) -> None:
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
    assert chat(messages=[{"role": "user", "content": content}])["messages"] == [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}],
        }
    ]


def test_a_tool_its_call_and_its_result_are_those_of_a_chat() -> None:
    said = chat(
        tools=[WEATHER],
        messages=[
            *HELLO,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "A tool knows.", "signature": "s"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}},
                    {"type": "tool_use", "id": "t2", "name": "weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "9 °C"}, IMAGE]},
                    {"type": "tool_result", "tool_use_id": "t2", "is_error": True, "content": "no city"},
                    {"type": "text", "text": "And tomorrow?"},
                ],
            },
        ],
    )
    function = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}}
    assert said["tools"] == [{"type": "function", "function": function}]
    calls = [("t1", '{"city":"Bern"}'), ("t2", "{}")]
    assert said["messages"][1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "reasoning_content": "A tool knows.",
            "tool_calls": [
                {"id": name, "type": "function", "function": {"name": "weather", "arguments": arguments}}
                for name, arguments in calls
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "9 °C"},
        {"role": "tool", "tool_call_id": "t2", "content": "Error: no city"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                {"type": "text", "text": "And tomorrow?"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}, "parallel_tool_calls": False},
        ),
    ],
)
def test_the_choice_of_a_tool_is_that_of_a_chat(choice: Any, said: Any) -> None:
    sent = chat(tools=[WEATHER], tool_choice=choice)
    assert {name: sent[name] for name in ("tool_choice", "parallel_tool_calls") if name in sent} == said


def test_a_schema_for_the_answer_is_that_of_a_chat() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    said = chat(output_config={"format": {"type": "json_schema", "schema": schema}, "effort": "low"})
    assert said["response_format"]["json_schema"]["schema"] == schema
    assert "output_config" not in said


def test_a_count_runs_the_same_chat_for_one_token() -> None:
    """So that it is what the message itself will be charged for its prompt."""
    of_count = as_chat(asked("messages.count_tokens", system="Be brief.", tools=[WEATHER]))
    of_message = as_chat(asked(system="Be brief.", tools=[WEATHER]))
    assert of_count.fields == of_message.fields
    assert msgspec.json.decode(of_count.wire("m"))["max_tokens"] == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}, "mcp_servers"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "Well,"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "f"}]}]}, None),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]}, None),
        ({"tool_choice": {"type": "best"}}, "tool_choice.type"),
    ],
)
def test_what_a_chat_has_no_word_for_is_refused_by_its_name(fields: Any, field: str | None) -> None:
    with pytest.raises(Malformed) as refused:
        chat(**fields)
    if field is None:
        assert refused.value.field is not None
        assert refused.value.field.startswith("messages[0].content[0]")
    else:
        assert refused.value.field == field


@pytest.mark.parametrize("thinking", [None, {"type": "disabled"}, {"type": "adaptive"}])
def test_thinking_that_asks_for_nothing_is_let_pass(thinking: Any) -> None:
    assert "thinking" not in chat(thinking=thinking)


def text_blocks() -> st.SearchStrategy[Any]:
    return st.one_of(TEXT, st.lists(st.builds(lambda text: {"type": "text", "text": text}, TEXT), min_size=1))


def results() -> st.SearchStrategy[Any]:
    build = st.builds(lambda content: {"type": "tool_result", "tool_use_id": "t", "content": content}, text_blocks())
    return st.lists(build, max_size=2)


def turns() -> st.SearchStrategy[Any]:
    user = st.builds(
        lambda first, rest: {"role": "user", "content": [*first, *rest] if isinstance(rest, list) else rest},
        results(),
        text_blocks(),
    )
    thinking = st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": ""}, TEXT)
    use = st.builds(lambda text: {"type": "tool_use", "id": "t", "name": "n", "input": {"a": text}}, TEXT)
    text = st.builds(lambda text: {"type": "text", "text": text}, TEXT)
    assistant = st.builds(
        lambda content: {"role": "assistant", "content": content},
        st.one_of(TEXT, st.lists(st.one_of(thinking, use, text), min_size=1)),
    )
    return st.lists(st.one_of(user, assistant), max_size=4)


def strings(value: Any) -> Iterator[str]:
    """Every text that a JSON value says; one that is JSON, as a tool's arguments are, is looked into."""
    if isinstance(value, str):
        yield value
        if value.startswith("{"):
            try:
                yield from strings(msgspec.json.decode(value))
            except msgspec.DecodeError:
                return
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in ("type", "role", "signature"):
                yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


@given(st.one_of(st.none(), text_blocks()), turns())
def test_no_text_is_lost_on_the_way_to_the_server(system: Any, conversation: Any) -> None:
    messages = [*conversation, *HELLO]
    arrived = list(strings(chat(system=system, messages=messages)["messages"]))
    for text in strings([message["content"] for message in messages] + [system]):
        assert any(text in each for each in arrived), text


# What is answered


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
    events = (Started("i-1"), *openai_wire.buffered(msgspec.json.encode(body), TARGET))
    assert list(Answered(Chat(events), asked("messages.count_tokens"))) == [
        Started("i-1"),
        Delta(b'{"input_tokens":7}'),
        Finished(Usage(7)),
    ]


def test_a_server_that_does_not_count_gives_no_count() -> None:
    events = openai_wire.buffered(b'{"choices":[{"message":{"content":"H"}}]}', TARGET)
    with pytest.raises(EngineFailed):
        list(Answered(Chat(events), asked("messages.count_tokens")))


@pytest.mark.parametrize(
    "data", [b'{"choices":3}', b'{"choices":[{"message":{"content":[1]}}]}', b'{"choices":[{"message":"\xff"}]}']
)
def test_an_answer_that_is_no_chat_is_the_engines_failure(data: bytes) -> None:
    with pytest.raises(EngineFailed):
        list(Answered(Chat((Delta(data), Finished(None))), asked()))


def test_more_of_a_call_that_a_later_one_has_ended_is_not_guessed_at() -> None:
    def call(index: int) -> dict[str, Any]:
        return {"tool_calls": [{"index": index, "id": f"t{index}", "function": {"name": "f", "arguments": "{"}}]}

    with pytest.raises(EngineFailed):
        streamed(chunks([call(0), call(1), call(0)]))


def test_closing_it_closes_the_chat() -> None:
    stream = Chat(())
    Answered(stream, asked()).close()
    assert stream.closed
