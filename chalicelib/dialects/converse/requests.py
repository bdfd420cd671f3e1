"""OpenAI's chats as Bedrock's Converse: what is asked. Pure.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html

What Converse has no word for and no answer depends on much (`user`, `seed`, penalties) is left out, as
OpenAI-compatible servers do with what they do not know. What would change the answer's shape is refused.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from chalicelib.call import Call
from chalicelib.refusal import Malformed

EXTRAS = ("top_k", "thinking")
"""Members that are the models' own and go to them as they are; no other, for one could name another ceiling."""

JSON_ONLY = "Answer with one JSON object and nothing else."

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_OPEN_SCHEMA = {"type": "object", "properties": {}}
_TEXT_LIMIT = 300  # characters of what is said about a wrong member; it may quote one of any length


class _Url(msgspec.Struct):
    url: str


class _Text(msgspec.Struct, tag="text"):
    text: str


class _Refusal(msgspec.Struct, tag="refusal"):
    refusal: str


class _Image(msgspec.Struct, tag="image_url"):
    image_url: _Url


class _Named(msgspec.Struct):
    name: str
    arguments: str = ""


class _ToolCall(msgspec.Struct):
    id: str
    function: _Named


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Text | _Image | _Refusal] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str = ""


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(msgspec.Struct):
    function: _Function


class _Choice(msgspec.Struct):
    function: _Named


class _Schema(msgspec.Struct):
    name: str
    schema: dict[str, Any]
    description: str | None = None


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _Chat(msgspec.Struct):
    messages: list[_Message]
    tools: list[_Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _Choice | None = None
    response_format: _Format | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None


Block = dict[str, Any]
"""A content block of Converse; the bytes of an image are bytes."""


def request(call: Call) -> dict[str, Any]:
    """The members of a Converse or ConverseStream request, but `modelId`.

    Raises: Malformed, for what is wrong and for what Converse cannot do.
    """
    if call.choices != 1:
        raise Malformed("This model gives one answer to a request: leave out `n`, or ask again.", field="n")
    chat = _read(call)
    system = [{"text": text} for message in chat.messages for text in _instructions(message)]
    inference = {
        "maxTokens": call.ceiling_tokens,
        "temperature": chat.temperature,
        "topP": chat.top_p,
        "stopSequences": [chat.stop] if isinstance(chat.stop, str) else chat.stop,
    }
    asked: dict[str, Any] = {
        "messages": _turns(chat.messages),
        "inferenceConfig": {name: value for name, value in inference.items() if value is not None},
    }
    wanted = chat.response_format
    if wanted is not None and wanted.type == "json_object":
        system.append({"text": JSON_ONLY})
    elif wanted is not None and wanted.json_schema is not None:
        asked["outputConfig"] = {"textFormat": _text_format(wanted.json_schema)}
    if system:
        asked["system"] = system
    if tools := _tools(chat):
        asked["toolConfig"] = tools
    if extras := {name: msgspec.json.decode(call.fields[name]) for name in EXTRAS if name in call.fields}:
        asked["additionalModelRequestFields"] = extras
    return asked


def _read(call: Call) -> _Chat:
    try:
        return msgspec.json.decode(msgspec.json.encode(call.fields), type=_Chat)
    except msgspec.ValidationError as error:
        raise Malformed(f"This model cannot take the request: {str(error)[:_TEXT_LIMIT]}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("The request is not the JSON of a chat.") from None


def _instructions(message: _Message) -> Iterator[str]:
    if message.role in ("system", "developer"):
        for block in _content(message):
            if "text" not in block:
                raise Malformed("A system message holds text only.", field="messages")
            yield block["text"]


def _turns(messages: Iterable[_Message]) -> list[dict[str, Any]]:
    """The messages as Converse takes them: those of one side that follow each other are one turn."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role in ("system", "developer"):
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: _Message) -> list[Block]:
    content = list(_content(message))
    if message.role == "tool":
        return [{"toolResult": {"toolUseId": message.tool_call_id, "content": content or [{"text": "-"}]}}]
    calls = message.tool_calls or () if message.role == "assistant" else ()
    return content + [
        {"toolUse": {"toolUseId": call.id, "name": call.function.name, "input": _arguments(call.function)}}
        for call in calls
    ]


def _content(message: _Message) -> Iterator[Block]:
    """Without empty texts, which Converse refuses and OpenAI's clients do send beside tool calls."""
    parts = [_Text(message.content)] if isinstance(message.content, str) else message.content or []
    for part in parts:
        if isinstance(part, _Image):
            yield {"image": _image(part.image_url.url)}
        elif text := part.refusal if isinstance(part, _Refusal) else part.text:
            yield {"text": text}


def _image(url: str) -> dict[str, Any]:
    head, _, data = url.partition(",")
    media_type = head.removeprefix("data:").removesuffix(";base64")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise Malformed("Send images within the request, as `data:image/png;base64,...`.", field="messages")
    if media_type not in _IMAGES:
        raise Malformed(f"An image has to be one of {', '.join(_IMAGES)}.", field="messages")
    try:
        return {"format": _IMAGES[media_type], "source": {"bytes": base64.b64decode(data, validate=True)}}
    except (binascii.Error, ValueError):
        raise Malformed("An image is not valid base64.", field="messages") from None


def _arguments(function: _Named) -> dict[str, Any]:
    try:
        return msgspec.json.decode(function.arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise Malformed(
            f"The arguments of a call of {function.name[:64]!r} are no JSON object.", field="messages"
        ) from None


def _tools(chat: _Chat) -> dict[str, Any] | None:
    tools = [_tool(tool.function) for tool in chat.tools or ()]
    if not tools or chat.tool_choice == "none":
        # Converse has no "none", and demands the tools of all calls in the conversation.
        called = {call.function.name for message in chat.messages for call in message.tool_calls or ()}
        spoken = [tool for tool in tools if tool["toolSpec"]["name"] in called]
        missing = called - {tool["toolSpec"]["name"] for tool in spoken}
        tools = spoken + [_tool(_Function(name)) for name in sorted(missing)]
        return {"tools": tools} if tools else None
    if chat.tool_choice == "required":
        return {"tools": tools, "toolChoice": {"any": {}}}
    if isinstance(chat.tool_choice, _Choice):
        return {"tools": tools, "toolChoice": {"tool": {"name": chat.tool_choice.function.name}}}
    return {"tools": tools}


def _tool(function: _Function) -> dict[str, Any]:
    tool: dict[str, Any] = {"name": function.name, "inputSchema": {"json": function.parameters or _OPEN_SCHEMA}}
    if function.description:
        tool["description"] = function.description
    if function.strict:
        tool["strict"] = True
    return {"toolSpec": tool}


def _text_format(schema: _Schema) -> dict[str, Any]:
    """https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html"""
    described = {"description": schema.description} if schema.description else {}
    definition = {"schema": msgspec.json.encode(schema.schema).decode(), "name": schema.name, **described}
    return {"type": "json_schema", "structure": {"jsonSchema": definition}}
