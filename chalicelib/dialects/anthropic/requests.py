"""Anthropic's Messages as OpenAI's chats: what is asked. Pure (https://docs.claude.com/en/api/messages).

Every text, image and tool of the request is in the chat. Members that say how Anthropic's own service should run it
(`members`) are left out; members that nobody here knows reach the server as they are, as in a chat.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from chalicelib.call import Call
from chalicelib.dialects.anthropic import members
from chalicelib.dialects.member import member
from chalicelib.refusal import Malformed

_TRANSLATED = ("messages", "system", "stop_sequences", "tools", "tool_choice", "thinking", "output_config")


class _Base64(msgspec.Struct, tag="base64"):
    media_type: str
    data: str


class _Url(msgspec.Struct, tag="url"):
    url: str


class _Text(msgspec.Struct, tag="text"):
    text: str
    cache_control: dict[str, Any] | None = None


class _Image(msgspec.Struct, tag="image"):
    source: _Base64 | _Url
    cache_control: dict[str, Any] | None = None


class _Thinking(msgspec.Struct, tag="thinking"):
    thinking: str


class _RedactedThinking(msgspec.Struct, tag="redacted_thinking"):
    """For Anthropic's own models only: nobody else can read it."""


class _ToolUse(msgspec.Struct, tag="tool_use"):
    id: str
    name: str
    input: msgspec.Raw
    cache_control: dict[str, Any] | None = None


class _ToolResult(msgspec.Struct, tag="tool_result"):
    tool_use_id: str
    content: str | list[_Text | _Image] = ""
    is_error: bool | None = None
    cache_control: dict[str, Any] | None = None


class _Said(msgspec.Struct, tag_field="role", tag="user"):
    content: str | list[_Text | _Image | _ToolResult]


class _Answered(msgspec.Struct, tag_field="role", tag="assistant"):
    content: str | list[_Text | _ToolUse | _Thinking | _RedactedThinking]


class _Instructed(msgspec.Struct, tag_field="role", tag="system"):
    content: str | list[_Text]


class _Tool(msgspec.Struct):
    name: str
    input_schema: msgspec.Raw
    type: Literal["custom"] | None = None
    description: str | None = None
    strict: bool | None = None
    cache_control: dict[str, Any] | None = None


class _ToolChoice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class _ThinkingConfig(msgspec.Struct):
    type: str


class _Format(msgspec.Struct):
    type: Literal["json_schema"]
    schema: msgspec.Raw


class _OutputConfig(msgspec.Struct):
    format: _Format | None = None


def as_chat(call: Call, extras: Collection[str] = ()) -> Call:
    """The chat that asks an OpenAI-compatible server the same; for a count of tokens, with one token as its answer.

    Only the server knows its template and its tokens, so what it counts for that chat is the one true count.
    `extras`: what the target's parts, messages and tools have besides OpenAI's: `cache_control`, or nothing.

    Raises: Malformed, where OpenAI's chats have no word for something.
    """
    known = members.without_the_services(call.fields)
    fields = {name: value for name, value in known.items() if name not in (*_TRANSLATED, *members.CLAUDES)}
    fields |= {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in _translated(call.fields, extras)}
    counts = call.operation == "messages.count_tokens"
    return msgspec.structs.replace(
        call,
        operation="chat.completions",
        fields=fields,
        stream=call.stream and not counts,
        ceiling_tokens=1 if counts else call.ceiling_tokens,
    )


def _translated(fields: Mapping[str, msgspec.Raw], extras: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Members of the chat. Raises: Malformed."""
    system = _member(fields, "system", str | list[_Text] | None)
    messages = _member(fields, "messages", list[_Said | _Answered | _Instructed]) or []
    if messages and isinstance(messages[-1], _Answered):
        # llama.cpp repeats it in its answer, others begin another one; Anthropic's newer models refuse it too.
        raise Malformed(
            "This model does not continue an answer that was begun: let the last message be the user's.",
            field="messages",
        )
    begun = [{"role": "system", "content": _texts(_blocks(system), extras)}] if system else []
    yield "messages", [*begun, *(turn for message in messages for turn in _turns(message, extras))]
    stops = _member(fields, "stop_sequences", list[str] | None)
    if stops:
        yield "stop", stops
    tools = _member(fields, "tools", list[_Tool] | None)
    if tools:
        yield "tools", [{"type": "function", "function": _function(tool), **_mark(tool, extras)} for tool in tools]
    choice = _member(fields, "tool_choice", _ToolChoice | None)
    if choice:
        named = {"type": "function", "function": {"name": choice.name}}
        yield "tool_choice", named if choice.type == "tool" else "required" if choice.type == "any" else choice.type
        if choice.disable_parallel_tool_use:
            yield "parallel_tool_calls", False
    thinking = _member(fields, "thinking", _ThinkingConfig | None)
    if thinking and thinking.type not in ("disabled", "adaptive"):
        raise Malformed(
            "This model cannot be told how much to think: leave `thinking` out, or let it be adaptive.",
            field="thinking",
        )
    output = _member(fields, "output_config", _OutputConfig | None)
    if output and output.format:
        schema = {"name": "answer", "schema": output.format.schema, "strict": True}
        yield "response_format", {"type": "json_schema", "json_schema": schema}


def _member(fields: Mapping[str, msgspec.Raw], name: str, form: Any) -> Any:
    """See dialects.member."""
    return member(fields, name, form, "Anthropic")


def _turns(message: _Said | _Answered | _Instructed, extras: Collection[str]) -> Iterator[dict[str, Any]]:
    """A message as a chat has it: results of tools are messages of their own there, right behind their calls."""
    blocks = _blocks(message.content)
    if isinstance(message, _Instructed):
        yield {"role": "system", "content": _texts(blocks, extras)}
    elif isinstance(message, _Answered):
        yield _answered(blocks, extras)
    else:
        shown: list[Any] = []
        for block in blocks:
            if not isinstance(block, _ToolResult):
                shown.append(block)
                continue
            results = _blocks(block.content)
            failed = "Error: " if block.is_error else ""  # a chat has no other way to say so
            said = {"tool_call_id": block.tool_use_id, "content": failed + _joined(results)}
            yield {"role": "tool", **said, **_mark(block, extras)}
            shown += [result for result in results if isinstance(result, _Image)]  # a chat's tools give text only
        if shown:
            yield {"role": "user", "content": _content(shown, extras)}


def _answered(blocks: list[Any], extras: Collection[str]) -> dict[str, Any]:
    calls = [
        {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": _text(block.input)}}
        for block in blocks
        if isinstance(block, _ToolUse)
    ]
    thoughts = "\n".join(block.thinking for block in blocks if isinstance(block, _Thinking))
    turn: dict[str, Any] = {"role": "assistant", "content": _texts(blocks, extras) or (None if calls else "")}
    if calls:
        turn["tool_calls"] = calls
        turn |= _mark(blocks[-1], extras)
    if thoughts:
        turn["reasoning_content"] = thoughts
    return turn


def _blocks(content: str | Iterable[Any]) -> list[Any]:
    return [_Text(content)] if isinstance(content, str) else list(content)


def _joined(blocks: Iterable[Any]) -> str:
    return "\n".join(block.text for block in blocks if isinstance(block, _Text))


def _texts(blocks: Iterable[Any], extras: Collection[str]) -> str | list[dict[str, Any]]:
    return _content([block for block in blocks if isinstance(block, _Text)], extras)


def _content(blocks: list[Any], extras: Collection[str]) -> str | list[dict[str, Any]]:
    """A plain text where that is all there is: many a model's template takes nothing else."""
    if not any(isinstance(block, _Image) or _mark(block, extras) for block in blocks):
        return _joined(blocks)
    return [{**_part(block), **_mark(block, extras)} for block in blocks]


def _part(block: _Text | _Image) -> dict[str, Any]:
    if isinstance(block, _Text):
        return {"type": "text", "text": block.text}
    return {"type": "image_url", "image_url": {"url": _address(block.source)}}


def _mark(block: Any, extras: Collection[str]) -> dict[str, Any]:
    """That the prompt may be kept up to here, where the target's chats can say so."""
    mark = getattr(block, "cache_control", None) if "cache_control" in extras else None
    return {"cache_control": mark} if mark else {}


def _address(source: _Base64 | _Url) -> str:
    return source.url if isinstance(source, _Url) else f"data:{source.media_type};base64,{source.data}"


def _function(tool: _Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}
    return {name: value for name, value in {**function, "strict": tool.strict}.items() if value is not None}


def _text(json: msgspec.Raw) -> str:
    """Raises: Malformed."""
    try:
        return bytes(json).decode()
    except UnicodeDecodeError:
        raise Malformed("A tool's input is not valid UTF-8.", field="messages") from None
