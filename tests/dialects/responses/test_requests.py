"""What is asked as a Response arrives as a chat: nothing is lost, and what a chat cannot say is refused by name."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.dialects import openai
from chalicelib.dialects.responses.requests import as_chat
from chalicelib.refusal import Malformed
from tests.engines.responses import asked

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
PNG = "data:image/png;base64,iVBORw0KGgo="
IMAGE = {"type": "input_image", "image_url": PNG, "detail": "low"}
SHOWN = {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "weather", "description": "Tells it.", "parameters": SCHEMA, "strict": True}
WEATHER = {"type": "function", **FUNCTION}
SPACE = {"type": "namespace", "name": "sky", "description": "Of the sky.", "tools": [WEATHER]}
PATCH = {"type": "custom", "name": "patch", "description": "Patches."}
USER = {"role": "user", "content": "Hello"}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "weather",
    "arguments": "{}",
    "status": "completed",
}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
CALLED = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALLED]}
TOLD = {"role": "tool", "tool_call_id": "c1", "content": "rain"}


def chat(**fields: Any) -> Any:
    """What an OpenAI-compatible server is sent."""
    return msgspec.json.decode(openai.request(as_chat(asked(**fields)), "org/model"))


def turns(*items: Any, **fields: Any) -> Any:
    return chat(input=list(items), **fields)["messages"]


def answered(*texts: str) -> dict[str, Any]:
    """An item as an answer has it."""
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []} for text in texts]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}


def test_a_response_is_asked_as_a_chat() -> None:
    said = chat(
        **{"instructions": "Be brief.", "temperature": 0.5, "top_p": 0.9, "user": "u-1", "seed": 7, "store": False},
        **{"metadata": {"a": "b"}, "truncation": "auto", "service_tier": "auto", "prompt_cache_key": "k"},
        **{"include": ["reasoning.encrypted_content"], "background": False, "previous_response_id": None},
        **{"safety_identifier": "s", "max_tool_calls": 3, "client_metadata": {"a": "b"}, "top_logprobs": 0},
    )
    assert said == {
        "model": "org/model",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "max_tokens": 16,
        "temperature": 0.5,
        "top_p": 0.9,
        "user": "u-1",
        "seed": 7,
    }


def test_a_streamed_response_is_asked_as_a_streamed_chat_with_its_usage() -> None:
    said = chat(stream=True, stream_options={"include_obfuscation": False})
    assert (said["stream"], said["stream_options"]) == (True, {"include_usage": True})


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([USER], [USER]),
        ([{"type": "message", **USER}], [USER]),
        ([{"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]}],
         [{"role": "user", "content": "a\nb"}]),
        ([{"role": "user", "content": [{"type": "input_text", "text": "What?"}, IMAGE]}],
         [{"role": "user", "content": [{"type": "text", "text": "What?"}, SHOWN]}]),
        # Templates want one system message, at the beginning.
        ([{"role": "developer", "content": "A"}, {"role": "system", "content": "B"}, USER],
         [{"role": "system", "content": "A\n\nB"}, USER]),
        ([USER, {"role": "developer", "content": "C"}, USER], [USER, {"role": "system", "content": "C"}, USER]),
        ([USER, {"role": "assistant", "content": "Hi"}, USER], [USER, {"role": "assistant", "content": "Hi"}, USER]),
        ([USER, answered("a", "b"), USER], [USER, {"role": "assistant", "content": "a\nb"}, USER]),
        ([USER, answered("a"), answered("b"), USER], [USER, {"role": "assistant", "content": "a\nb"}, USER]),
        ([USER, {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, USER],
         [USER, {"role": "assistant", "content": "No."}, USER]),
        ([USER, answered(""), USER], [USER, {"role": "assistant", "content": ""}, USER]),
        ([USER, CALL, OUTPUT], [USER, CALLING, TOLD]),
        # What is said before a call, and thought before that, is one message with it.
        ([USER, {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "no"}],
                 "content": [{"type": "reasoning_text", "text": "hm"}]}, answered("Wait."), CALL, OUTPUT],
         [USER, {"role": "assistant", "content": "Wait.", "tool_calls": [CALLED], "reasoning_content": "hm"}, TOLD]),
        # Nobody else can read it.
        ([USER, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}, answered("Hi"), USER],
         [USER, {"role": "assistant", "content": "Hi"}, USER]),
        ([USER, {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}, USER],
         [USER, USER]),
        # Calls side by side; their results stand right behind them, whatever was said in between.
        ([USER, CALL, {**CALL, "call_id": "c2"}, {**OUTPUT, "call_id": "c2", "output": "sun"}, OUTPUT],
         [USER, {"role": "assistant", "content": None, "tool_calls": [CALLED, {**CALLED, "id": "c2"}]},
          TOLD, {"role": "tool", "tool_call_id": "c2", "content": "sun"}]),
        ([USER, CALL, USER, OUTPUT], [USER, CALLING, TOLD, USER]),
        ([USER, CALL, OUTPUT, CALL, {**OUTPUT, "output": "sun"}],
         [USER, CALLING, TOLD,
          CALLING, {**TOLD, "content": "sun"}]),
        # A chat's tools give text only.
        ([USER, CALL, {**OUTPUT, "output": [{"type": "input_text", "text": "rain"}, IMAGE]}],
         [USER, CALLING, TOLD,
          {"role": "user", "content": [SHOWN]}]),
        ([USER, {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": 'a "b"'},
          {"type": "custom_tool_call_output", "call_id": "c1", "output": "rain"}],
         [USER, {"role": "assistant", "content": None, "tool_calls": [
             {"id": "c1", "type": "function", "function": {"name": "patch", "arguments": '{"input":"a \\"b\\""}'}}]},
          TOLD]),
    ],
)  # fmt: skip
def test_items_are_messages(items: list[Any], messages: list[Any]) -> None:
    assert turns(*items) == messages


def test_instructions_stand_before_what_the_input_says_of_the_system() -> None:
    assert turns({"role": "developer", "content": "B"}, USER, instructions="A")[0]["content"] == "A\n\nB"


@pytest.mark.parametrize(
    ("fields", "members"),
    [
        ({"tools": [WEATHER]},
         {"tools": [{"type": "function", "function": FUNCTION}]}),
        ({"tools": [{"type": "function", "name": "f", "parameters": None, "strict": None}]},
         {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ({"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False},
         {"tool_choice": "required", "parallel_tool_calls": False}),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "weather"}},
         {"tool_choice": {"type": "function", "function": {"name": "weather"}}}),
        ({"tools": [PATCH], "tool_choice": {"type": "custom", "name": "patch"}},
         {"tool_choice": {"type": "function", "function": {"name": "patch"}}}),
        ({"tools": [WEATHER, {**WEATHER, "name": "f"}],
          "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}},
         {"tools": [{"type": "function", "function": {**FUNCTION, "name": "f"}}], "tool_choice": "required"}),
        # Without tools, servers refuse to be told how to choose.
        ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
        ({"text": {"format": {"type": "text"}, "verbosity": "medium"}}, {}),
        ({"text": {"verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}}},
         {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"reasoning": None, "text": None, "tools": None, "tool_choice": None, "include": None}, {}),
        ({"min_p": 0.1}, {"min_p": 0.1}),
    ],
)  # fmt: skip
def test_what_is_wished_is_said_in_a_chats_words(fields: dict[str, Any], members: dict[str, Any]) -> None:
    said = chat(**fields)
    assert {name: value for name, value in said.items() if name in members} == members
    assert set(said) - {"model", "messages", "max_tokens", "tools"} == set(members) - {"tools"}


def test_the_tools_of_a_namespace_are_functions_of_joined_names() -> None:
    said = chat(tools=[SPACE], input=[USER, {**CALL, "namespace": "sky"}, OUTPUT])
    described = {**FUNCTION, "name": "sky__weather", "description": "Of the sky.\n\nTells it."}
    assert said["tools"] == [{"type": "function", "function": described}]
    assert said["messages"][1]["tool_calls"][0]["function"]["name"] == "sky__weather"


@pytest.mark.parametrize("allowed", ["sky", "weather"])
def test_a_namespace_or_one_of_its_tools_is_allowed(allowed: str) -> None:
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "namespace", "name": allowed}]}
    said = chat(tools=[SPACE, PATCH], tool_choice=choice)
    assert [tool["function"]["name"] for tool in said["tools"]] == ["sky__weather"]


def test_a_tool_that_takes_any_text_is_a_function_of_one() -> None:
    (tool,) = chat(tools=[PATCH])["tools"]
    assert (tool["function"]["name"], tool["function"]["description"]) == ("patch", "Patches.")
    assert tool["function"]["parameters"]["required"] == ["input"]


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"conversation": "conv_1"}, "conversation", "`input`"),
        ({"background": True}, "background", "stream"),
        ({"prompt": {"id": "p"}}, "prompt", "`instructions`"),
        ({"moderation": {"model": "m"}}, "moderation", "Leave it out"),
        ({"context_management": [{"type": "compaction"}]}, "context_management", "less"),
        ({"top_logprobs": 3}, "top_logprobs", "chat"),
        ({"include": ["message.output_text.logprobs"]}, "include", "logprobs"),
        ({"truncation": "some"}, "truncation", "some"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "huge"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode", "pro"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type", "grammar"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format", "schema"),
        ({"messages": [USER]}, "messages", "`input`"),
        ({"response_format": {"type": "json_object"}}, "response_format", "`text.format`"),
        ({"max_tokens": 3}, "max_tokens", "`max_output_tokens`"),
        ({"reasoning_effort": "low"}, "reasoning_effort", "`reasoning.effort`"),
        ({"functions": []}, "functions", "`tools`"),
        *(
            ({"tools": [WEATHER, {"type": kind}]}, "tools[1].type", kind)
            for kind in (
                *("web_search", "web_search_preview", "file_search", "code_interpreter", "computer_use_preview", "mcp"),
                *("image_generation", "local_shell", "shell", "apply_patch", "tool_search"),
            )
        ),
        ({"tools": [{**PATCH, "format": {"type": "grammar", "syntax": "lark"}}]}, "tools[0].format", "grammar"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0]", "name"),
        ({"tools": [{**SPACE, "tools": [{"type": "mcp"}]}]}, "tools[0].tools[0].type", "mcp"),
        ({"tools": [{**SPACE, "tools": [SPACE]}]}, "tools[0].tools[0].type", "namespace"),
        ({"tools": [SPACE, {**WEATHER, "name": "sky__weather"}]}, "tools", "sky__weather"),
        ({"tools": [WEATHER], "tool_choice": {"type": "web_search_preview"}}, "tool_choice", "web_search_preview"),
        ({"tool_choice": "required"}, "tool_choice", "`tools`"),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}},
         "tool_choice", "`tools`"),
        ({"tool_choice": "any"}, "tool_choice", "any"),
        ({"input": [USER, {"type": "item_reference", "id": "msg_1"}]}, "input[1]", "item itself"),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[0].type", "web_search_call"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0].type", "compaction"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "tool"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
         "input[0].content[0].type", "input_file"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
         "input[0].content", "image_url"),
        ({"input": [{"role": "system", "content": [IMAGE]}, USER]}, "input[0].content", "image"),
        ({"input": [USER, OUTPUT]}, "input[1].call_id", "c1"),
        ({"input": [USER, OUTPUT, CALL]}, "input[1].call_id", "c1"),
        ({"input": [USER, {**CALL, "arguments": {}}, OUTPUT]}, "input[1].arguments", "str"),
        ({"input": [USER, answered("so far")]}, "input", "continue"),
        ({"input": [USER, CALL]}, "input", "continue"),
    ],
)  # fmt: skip
def test_what_a_chat_cannot_say_is_refused_where_it_stands(fields: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(Malformed) as refused:
        chat(**fields)
    assert refused.value.field == field
    assert says in refused.value.text


@pytest.mark.parametrize("field", ["input", "tools", "text"])
def test_what_cannot_be_read_is_named(field: str) -> None:
    call = asked()
    for raw in (b'["\xff"]', b"[" * 5_000 + b"]" * 5_000):
        with pytest.raises(Malformed) as refused:
            as_chat(msgspec.structs.replace(call, fields={**call.fields, field: msgspec.Raw(raw)}))
        assert (refused.value.field or "").startswith(field)


CODEX = {
    "model": "model-a",
    "instructions": "You are a coding agent.",
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandbox: read-only."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List the files."}]},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "encrypted_content": None,
            "content": [{"type": "reasoning_text", "text": "Let me see."}],
        },
        {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "call_1"},
        {"type": "function_call_output", "call_id": "call_1", "output": "README.md"},
    ],
    "tools": [
        {"type": "function", "name": "shell", "description": "Runs.", "strict": False, "parameters": SCHEMA},
        {"type": "namespace", "name": "agents", "description": "Others.", "tools": [WEATHER]},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0193",
    "client_metadata": {"session": "0193"},
    "text": {"verbosity": "medium"},
}


def test_codexs_wire_is_a_chat() -> None:
    said = chat(**{name: value for name, value in CODEX.items() if name != "max_output_tokens"})
    assert [turn["role"] for turn in said["messages"]] == ["system", "user", "assistant", "tool"]
    assert said["messages"][0]["content"] == "You are a coding agent.\n\nSandbox: read-only."
    assert [tool["function"]["name"] for tool in said["tools"]] == ["shell", "agents__weather"]
    assert set(said) & {"client_metadata", "prompt_cache_key", "include", "store"} == set()
    assert (said["parallel_tool_calls"], said["tool_choice"], said["reasoning_effort"]) == (False, "auto", "medium")


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "call"]), TEXT), min_size=1, max_size=8))
def test_no_text_is_lost_and_every_result_stands_behind_its_call(script: list[tuple[str, str]]) -> None:
    items: list[Any] = []
    for number, (who, text) in enumerate(script):
        if who == "call":
            items.append({**CALL, "call_id": f"c{number}", "name": text})
            items.append({**OUTPUT, "call_id": f"c{number}", "output": text})
        else:
            items.append({"role": who, "content": text})
    told = turns(*items, USER)
    shown = msgspec.json.decode(msgspec.json.encode(told))
    flat = "\0".join(str(turn) for turn in shown)
    assert all(repr(text)[1:-1] in flat for _, text in script)
    for number, turn in enumerate(told):
        called = [call["id"] for call in turn.get("tool_calls", ())]
        behind = told[number + 1 : number + 1 + len(called)]
        assert [result.get("tool_call_id") for result in behind] == called
