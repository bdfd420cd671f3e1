"""Sessions that began with other servers go on at Bedrock, whichever door they come by."""

import json
from typing import Any

import pytest

from chalicelib.call import Call, Delta, Finished
from chalicelib.dialects.converse.requests import request
from chalicelib.dialects.names import Names
from chalicelib.engines import begin
from chalicelib.pool import Bedrock
from chalicelib.refusal import Malformed
from tests.engines.bedrocks import ON_HAIKU, ON_NOVA, ON_SONNET, LocalBedrock, ask, sandbox

LONG = "call_" + "x" * 80
HELLO = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "files/read", "parameters": {}}}


def called(name: object, arguments: object = "{}", tool: str = "files/read") -> dict[str, Any]:
    call = {"id": name, "type": "function", "function": {"name": tool, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def result(name: object, content: object = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": name, "content": content}


def answer(target: Bedrock, call: Call) -> list[Any]:
    stream = begin(sandbox(), target, call)
    try:
        *events, finished = list(stream)
    finally:
        stream.close()
    assert isinstance(finished, Finished)
    return [json.loads(event.data) for event in events if isinstance(event, Delta)]


CHATS = {
    "a blank part": [{"role": "user", "content": [{"type": "text", "text": " "}, {"type": "text", "text": "Hello"}]}],
    "the assistant begins": [{"role": "assistant", "content": "Welcome!"}, HELLO],
    "a lone instruction": [{"role": "system", "content": "Be brief."}],
    "arguments cut off": [HELLO, called("c1", '{"path":'), result("c1")],
    "no arguments": [HELLO, called("c1", None), result("c1")],
    "a long id": [HELLO, called(LONG), result(LONG)],
    "another id": [HELLO, called("functions.Bash:0|fc_1"), result("functions.Bash:0|fc_1")],
    "no id": [HELLO, called(None), result(None)],
    "a blank result": [HELLO, called("c1"), result("c1", "  ")],
    "no result": [HELLO, called("c1"), HELLO],
    "a result of nothing": [HELLO, result("c1")],
    "an id again": [HELLO, called("c0"), result("c0"), called("c0"), result("c0")],
    "a function's": [
        HELLO,
        {"role": "assistant", "content": None, "function_call": {"name": "files/read", "arguments": "{}"}},
        {"role": "function", "name": "files/read", "content": "done"},
    ],
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("target", [ON_HAIKU, ON_NOVA, ON_SONNET], ids=lambda target: target.name)
@pytest.mark.parametrize("messages", CHATS.values(), ids=CHATS)
def test_a_chat_goes_on(bedrock: LocalBedrock, target: Bedrock, messages: list[Any], stream: bool) -> None:
    fields = {"messages": messages, "tools": [TOOL], "stop": ["", "END"]}
    assert answer(target, ask("chat.completions", fields, stream=stream))


USE = {"type": "tool_use", "id": LONG, "name": "read", "input": {}}
MESSAGES = {
    "a blank part": [{"role": "user", "content": [{"type": "text", "text": " "}, {"type": "text", "text": "Hello"}]}],
    "the assistant begins": [{"role": "assistant", "content": "Welcome!"}, HELLO],
    "a long id": [
        HELLO,
        {"role": "assistant", "content": [USE]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": LONG, "content": " "}]},
    ],
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("messages", MESSAGES.values(), ids=MESSAGES)
def test_a_message_goes_on(bedrock: LocalBedrock, messages: list[Any], stream: bool) -> None:
    fields = {"messages": messages, "tools": [{"name": "read", "input_schema": {}}]}
    assert answer(ON_NOVA, ask("messages", fields, stream=stream))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_answer_names_the_callers_tool(bedrock: LocalBedrock, stream: bool) -> None:
    """What the model calls is an alias; its own id of the call is new, and stays."""
    [alias] = [tool["toolSpec"]["name"] for tool in _asked()["toolConfig"]["tools"]]
    bedrock.do("say", blocks=[{"tool": alias, "input": {"path": "a"}}])
    answers = answer(ON_HAIKU, ask("chat.completions", {"messages": [HELLO], "tools": [TOOL]}, stream=stream))
    parts = [answer["choices"][0]["delta" if stream else "message"] for answer in answers]
    [made, *_] = [call for part in parts for call in part.get("tool_calls") or ()]
    assert made["function"]["name"] == "files/read"
    assert made["id"].startswith("tooluse_")


def _asked() -> dict[str, Any]:
    return request(ask("chat.completions", {"messages": [HELLO], "tools": [TOOL]}), "", Names())


def test_a_refusal_names_the_callers_tool(bedrock: LocalBedrock) -> None:
    choice = {"type": "function", "function": {"name": "files/write"}}
    with pytest.raises(Malformed) as refused:
        answer(ON_HAIKU, ask("chat.completions", {"messages": [HELLO], "tools": [TOOL], "tool_choice": choice}))
    assert "toolChoice.tool.name files/write does not match" in refused.value.text
