"""What is asked as a Message arrives as a chat: nothing is lost, and what a chat cannot say is refused."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.dialects import openai
from chalicelib.dialects.anthropic.requests import as_chat
from chalicelib.refusal import Malformed
from tests.engines.messages import HELLO, asked

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
WEATHER = {"name": "weather", "description": "Tells it.", "input_schema": {"type": "object"}}


def chat(**fields: Any) -> Any:
    """What an OpenAI-compatible server is sent."""
    return msgspec.json.decode(openai.request(as_chat(asked(**fields)), "org/model"))


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


def test_marks_of_caches_stay_where_the_targets_chats_have_them() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    text = {"type": "text", "text": "Hello"}
    use = {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}
    call = asked(
        system=[{**text, **mark}, text],
        tools=[WEATHER | mark],
        messages=[
            {"role": "user", "content": [{**text, **mark}, IMAGE]},
            {"role": "assistant", "content": [text, {**use, **mark}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "9", **mark}, text]},
        ],
    )
    said = {name: msgspec.json.decode(value) for name, value in as_chat(call, extras=("cache_control",)).fields.items()}
    system, user, assistant, tool, last = said["messages"]
    assert system["content"] == [{**text, **mark}, text]
    assert user["content"][0] == {**text, **mark}
    assert (assistant["cache_control"], assistant["content"]) == (mark["cache_control"], "Hello")
    assert (tool["cache_control"], tool["content"]) == (mark["cache_control"], "9")
    assert last["content"] == "Hello"
    assert said["tools"][0]["cache_control"] == mark["cache_control"]
    assert b"cache_control" not in openai.request(as_chat(call), "org/model")


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
    assert msgspec.json.decode(openai.request(of_count, "m"))["max_tokens"] == 1


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


@pytest.mark.parametrize("messages", [b'[{"role":"user","content":"\xff"}]', b'[{"role":"user","content":"a'])
def test_what_is_no_text_is_refused(messages: bytes) -> None:
    call = asked()
    with pytest.raises(Malformed):
        as_chat(msgspec.structs.replace(call, fields={**call.fields, "messages": msgspec.Raw(messages)}))


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
