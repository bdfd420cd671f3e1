"""Anthropic's Messages, as InvokeModel takes and gives them.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from emulators.bedrock import images, rules
from emulators.bedrock.catalogue import Model
from emulators.bedrock.conversation import Began, Conversation, Ended, Event, Role, Text, Tool, ToolUse, Turn
from emulators.bedrock.refusal import invalid
from emulators.bedrock.shape import Metrics, Said, Stream, ceiling, decoded, read

_Version = Annotated[str, msgspec.Meta(pattern=r"^(bedrock-)?\d{4}-\d{2}-\d{2}$")]
"""AWS names one, `bedrock-2023-05-31`; Anthropic's own client of Bedrock sends the version of Anthropic's API."""


KNOWN_BETAS = frozenset(
    (
        *("compact-2026-01-12", "computer-use-2024-10-22", "computer-use-2025-01-24", "computer-use-2025-11-24"),
        *("context-1m-2025-08-07", "context-management-2025-06-27", "interleaved-thinking-2025-05-14"),
        *("tool-examples-2025-10-29", "tool-search-tool-2025-10-19"),
    )
)
"""Any other is refused with the whole request."""

_CONTEXT_MANAGEMENT = "context-management-2025-06-27"

_ToolUseId = Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]+$")]


class _CacheControl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class _Block(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    cache_control: _CacheControl | None = None


class _Text(_Block, frozen=True, tag="text"):
    text: str


class _Source(msgspec.Struct, frozen=True):
    type: Literal["base64"]
    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    data: str


class _Image(_Block, frozen=True, tag="image"):
    source: _Source


class _ToolUse(_Block, frozen=True, tag="tool_use"):
    id: _ToolUseId
    name: str
    input: dict[str, Any]


class _ToolResult(_Block, frozen=True, tag="tool_result"):
    tool_use_id: _ToolUseId
    content: str | list[_Text | _Image] = ""
    is_error: bool = False


class _Thinking(_Block, frozen=True, tag="thinking"):
    thinking: str
    signature: Annotated[str, msgspec.Meta(min_length=1)]


class _RedactedThinking(_Block, frozen=True, tag="redacted_thinking"):
    data: str


_Content = _Text | _Image | _ToolUse | _ToolResult | _Thinking | _RedactedThinking


class _Message(msgspec.Struct, frozen=True):
    role: Role
    content: str | list[_Content]


class _Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]{1,128}$")]
    input_schema: dict[str, Any]
    description: str = ""
    type: Literal["custom"] = "custom"
    cache_control: _CacheControl | None = None
    strict: bool = False


class _Choice(msgspec.Struct, frozen=True):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""


class _OutputConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None of the models here has an effort to choose."""

    format: dict[str, Any] | None = None


_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    anthropic_version: _Version
    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    anthropic_beta: list[str] = []
    system: str | list[_Text] = ""
    temperature: _Share | None = None
    top_p: _Share | None = None
    top_k: int | None = None
    stop_sequences: list[Annotated[str, msgspec.Meta(min_length=1)]] = []
    tools: list[_Tool] = []
    tool_choice: _Choice | None = None
    thinking: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    output_config: _OutputConfig | None = None
    context_management: dict[str, Any] | None = None


class Anthropic:
    """A `Shape`."""

    def __init__(self, new_id: Callable[[], UUID], model_name: str) -> None:
        self._new_id = new_id
        self._model_name = model_name

    def read(self, body: bytes, model: Model) -> Conversation:
        asked = read(body, _Body)
        _check(asked)
        tools = tuple(Tool(tool.name, tool.input_schema) for tool in asked.tools)
        forced = _forced(asked.tool_choice, tools)
        max_tokens = ceiling(asked.max_tokens, model.most_tokens)
        rules.check_thinking(asked.thinking, model, max_tokens, asked.temperature, forced=forced is not None)
        return Conversation(
            turns=tuple(_turn(message, index) for index, message in enumerate(asked.messages)),
            system=asked.system if isinstance(asked.system, str) else "\n".join(each.text for each in asked.system),
            max_tokens=max_tokens,
            temperature=asked.temperature,
            top_p=asked.top_p,
            stop=tuple(asked.stop_sequences),
            tools=tools,
            forced=forced,
        )

    def whole(self, said: Said, metrics: Metrics) -> dict[str, Any]:
        return self._message() | {
            "content": [_block(block) for block in said.blocks],
            "stop_reason": _reason(said.ended),
            "stop_sequence": said.ended.stop_sequence,
            "usage": _usage(metrics.input_tokens, metrics.output_tokens),
        }

    def stream(self) -> Stream:
        return _Stream(self._message())

    def _message(self) -> dict[str, Any]:
        return {
            "id": f"msg_bdrk_{self._new_id().hex}",
            "type": "message",
            "role": "assistant",
            "model": self._model_name,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }


class _Stream:
    """https://docs.claude.com/en/docs/build-with-claude/streaming"""

    def __init__(self, message: dict[str, Any]) -> None:
        self._message = message
        self._index = -1
        self._open = False  # a text block is; a tool's comes at once

    def events(self, event: Event) -> Iterable[dict[str, Any]]:
        match event:
            case Began(tokens):
                yield {"type": "message_start", "message": self._message | {"usage": _usage(tokens, 1)}}
            case Text(text):
                if not self._open:
                    self._open = True
                    yield self._start({"type": "text", "text": ""})
                yield self._delta({"type": "text_delta", "text": text})
            case ToolUse(id, name, given):
                yield from self._close()
                yield self._start({"type": "tool_use", "id": f"toolu_bdrk_{id}", "name": name, "input": {}})
                text = msgspec.json.encode(given).decode()
                for part in ("", text[: len(text) // 2], text[len(text) // 2 :]):
                    yield self._delta({"type": "input_json_delta", "partial_json": part})
                self._open = True
                yield from self._close()

    def last(self, ended: Ended, metrics: Metrics) -> Iterable[dict[str, Any]]:
        yield from self._close()
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": _reason(ended), "stop_sequence": ended.stop_sequence},
            "usage": {"output_tokens": metrics.output_tokens},
        }
        yield {"type": "message_stop"} | metrics.invocation()

    def _start(self, block: dict[str, Any]) -> dict[str, Any]:
        self._index += 1
        return {"type": "content_block_start", "index": self._index, "content_block": block}

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _close(self) -> Iterable[dict[str, Any]]:
        if self._open:
            self._open = False
            yield {"type": "content_block_stop", "index": self._index}


def _check(asked: _Body) -> None:
    """What Anthropic's models refuse of a body whose form is right. Raises Refused."""
    if asked.messages[0].role != "user":
        raise invalid('messages: first message must use the "user" role')
    if unknown := set(asked.anthropic_beta) - KNOWN_BETAS:
        raise invalid(f"invalid beta flag: {min(unknown)}")
    if asked.context_management is not None and _CONTEXT_MANAGEMENT not in asked.anthropic_beta:
        raise invalid("context_management: Extra inputs are not permitted")
    contents = [message.content for message in asked.messages]
    for text in (*_texts(asked.system), *(text for content in contents for text in _texts(content))):
        if not text.strip():
            raise invalid("messages: text content blocks must contain non-whitespace text")
    blocks = [block for content in contents if not isinstance(content, str) for block in content]
    ids = [block.id for block in blocks if isinstance(block, _ToolUse)]
    if len(set(ids)) < len(ids):
        raise invalid("messages: `tool_use` ids must be unique")


def _texts(content: str | Sequence[_Content]) -> list[str]:
    if isinstance(content, str):
        return [content] if content else []
    return [block.text for block in content if isinstance(block, _Text)]


def _turn(message: _Message, index: int) -> Turn:
    if isinstance(message.content, str):
        return Turn(message.role, message.content)
    texts: list[str] = []
    image_tokens = 0
    for at, block in enumerate(message.content):
        where = f"messages.{index}.content.{at}"
        match block:
            case _Text(text=text):
                texts.append(text)
            case _Image(source=source):
                image_tokens += _image(source, where)
            case _ToolUse(name=name, input=given):
                texts.append(f"{name}({msgspec.json.encode(given).decode()})")
            case _ToolResult(content=str() as text):
                texts.append(text)
            case _ToolResult(content=list() as parts):
                texts += [part.text for part in parts if isinstance(part, _Text)]
                image_tokens += sum(_image(part.source, where) for part in parts if isinstance(part, _Image))
    return Turn(message.role, "\n".join(texts), image_tokens)


def _image(source: _Source, where: str) -> int:
    data = decoded(source.data, f"{where}.image.source.base64")
    return images.tokens(data, source.media_type.removeprefix("image/"), f"{where}.image.source.base64.data")


def _forced(choice: _Choice | None, tools: tuple[Tool, ...]) -> Tool | None:
    if choice is None or choice.type in ("auto", "none"):
        return None
    found = [tool for tool in tools if choice.type == "any" or tool.name == choice.name]
    if not found:
        raise invalid(f"tool_choice: Tool '{choice.name}' not found in provided tools")
    return found[0]


def _block(block: Text | ToolUse) -> dict[str, Any]:
    if isinstance(block, Text):
        return {"type": "text", "text": block.text}
    return {"type": "tool_use", "id": f"toolu_bdrk_{block.id}", "name": block.name, "input": block.input}


def _reason(ended: Ended) -> str:
    # A guardrail's text comes in place of the answer; what became of it, the guardrail's own member says.
    return "end_turn" if ended.reason == "guardrail_intervened" else ended.reason


def _usage(input_tokens: int, output_tokens: int) -> dict[str, int]:
    return {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
    }
