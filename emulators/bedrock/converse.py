"""Converse, as the service model of bedrock-runtime has it, and the turns that Nova's own body shares with it."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec

from emulators.bedrock import images
from emulators.bedrock.conversation import Began, Conversation, Ended, Event, Role, Text, Tool, ToolUse, Turn
from emulators.bedrock.refusal import invalid
from emulators.bedrock.shape import Metrics, Said, ceiling, decoded

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


class Bytes(msgspec.Struct, frozen=True):
    bytes: str


class Image(msgspec.Struct, frozen=True):
    format: Literal["png", "jpeg", "gif", "webp"]
    source: Bytes


class ToolCall(msgspec.Struct, frozen=True, rename="camel"):
    tool_use_id: str
    name: str
    input: dict[str, Any]


class ResultBlock(msgspec.Struct, frozen=True):
    text: str | None = None
    json: Any = None
    image: Image | None = None


class ToolResult(msgspec.Struct, frozen=True, rename="camel"):
    tool_use_id: str
    content: list[ResultBlock]
    status: Literal["success", "error"] = "success"


class GuardText(msgspec.Struct, frozen=True):
    text: str


class GuardContent(msgspec.Struct, frozen=True):
    text: GuardText


class Block(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One member of these, as in every union of AWS."""

    text: str | None = None
    image: Image | None = None
    tool_use: ToolCall | None = None
    tool_result: ToolResult | None = None
    guard_content: GuardContent | None = None
    cache_point: dict[str, str] | None = None
    reasoning_content: dict[str, Any] | None = None


class Message(msgspec.Struct, frozen=True):
    role: Role
    content: list[Block]


class InputSchema(msgspec.Struct, frozen=True):
    json: dict[str, Any]


class ToolSpec(msgspec.Struct, frozen=True, rename="camel"):
    name: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    input_schema: InputSchema
    description: str = ""


class ToolEntry(msgspec.Struct, frozen=True, rename="camel"):
    tool_spec: ToolSpec | None = None
    cache_point: dict[str, str] | None = None


class NamedTool(msgspec.Struct, frozen=True):
    name: str


class ToolChoice(msgspec.Struct, frozen=True):
    auto: dict[str, Any] | None = None
    any: dict[str, Any] | None = None
    tool: NamedTool | None = None


class ToolConfig(msgspec.Struct, frozen=True, rename="camel"):
    tools: Annotated[list[ToolEntry], msgspec.Meta(min_length=1)]
    tool_choice: ToolChoice | None = None


class InferenceConfig(msgspec.Struct, frozen=True, rename="camel"):
    max_tokens: _AtLeastOne | None = None
    temperature: _Share | None = None
    top_p: _Share | None = None
    stop_sequences: list[Annotated[str, msgspec.Meta(min_length=1)]] = []


class JsonSchema(msgspec.Struct, frozen=True):
    schema: str


class Structure(msgspec.Struct, frozen=True, rename="camel"):
    json_schema: JsonSchema


class TextFormat(msgspec.Struct, frozen=True):
    type: Literal["json_schema"]
    structure: Structure


class OutputConfig(msgspec.Struct, frozen=True, rename="camel"):
    text_format: TextFormat | None = None


class GuardrailConfig(msgspec.Struct, frozen=True, rename="camel"):
    guardrail_identifier: str = ""
    guardrail_version: str = ""
    trace: Literal["enabled", "disabled", "enabled_full"] = "disabled"


class Request(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The body of Converse and ConverseStream. Members without a meaning for the demo model are passed over."""

    messages: list[Message] = []
    system: list[Block] = []
    inference_config: InferenceConfig = InferenceConfig()
    tool_config: ToolConfig | None = None
    guardrail_config: GuardrailConfig | None = None
    output_config: OutputConfig = OutputConfig()


def conversation(asked: Request, most_tokens: int) -> Conversation:
    """Raises Refused, in Bedrock's words."""
    config = asked.inference_config
    text_format = asked.output_config.text_format
    return Conversation(
        turns=turns(asked.messages, has_tools=asked.tool_config is not None),
        system="\n".join(block.text for block in asked.system if block.text),
        max_tokens=ceiling(config.max_tokens or most_tokens, most_tokens),
        temperature=config.temperature,
        top_p=config.top_p,
        stop=tuple(config.stop_sequences),
        tools=tools(asked.tool_config),
        forced=forced(asked.tool_config),
        json_schema=_schema(text_format.structure.json_schema.schema) if text_format else None,
    )


def turns(messages: Sequence[Message], *, has_tools: bool) -> tuple[Turn, ...]:
    """Raises Refused."""
    _check_roles(messages)
    for index, message in enumerate(messages):
        _check_content(message, index)
    if has_tools:
        _check_tool_results(messages)
    elif any(block.tool_use or block.tool_result for each in messages for block in each.content):
        raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
    return tuple(_turn(message, index) for index, message in enumerate(messages))


def tools(config: ToolConfig | None) -> tuple[Tool, ...]:
    entries = config.tools if config else ()
    return tuple(Tool(entry.tool_spec.name, entry.tool_spec.input_schema.json) for entry in entries if entry.tool_spec)


def forced(config: ToolConfig | None) -> Tool | None:
    """The tool that must be called. Raises Refused: there is none of that name."""
    if config is None or config.tool_choice is None:
        return None
    choice, offered = config.tool_choice, tools(config)
    if choice.tool:
        name = choice.tool.name
        found = [tool for tool in offered if tool.name == name]
        if not found:
            raise invalid(f"The toolChoice.tool.name {name} does not match any tool of toolConfig.tools.")
        return found[0]
    return offered[0] if choice.any is not None and offered else None


def whole(said: Said, metrics: Metrics) -> dict[str, Any]:
    """The body of a ConverseResponse, without a trace."""
    return {
        "output": {"message": {"role": "assistant", "content": [_block(block) for block in said.blocks]}},
        "stopReason": said.ended.reason,
        "usage": usage(metrics),
        "metrics": {"latencyMs": metrics.latency_ms},
    }


def trace(config: GuardrailConfig | None, ended: Ended) -> dict[str, Any]:
    """What a response has besides where its caller wants to know why a guardrail intervened."""
    wanted = config is not None and config.trace != "disabled"
    return {"trace": {"guardrail": ended.assessed}} if wanted and ended.assessed else {}


class Stream:
    """A ConverseStream: each event as `{its type: its members}`."""

    def __init__(self, guardrail: GuardrailConfig | None = None) -> None:
        self._guardrail = guardrail
        self._index = -1
        self._open = False  # a text block is; a tool's comes at once

    def events(self, event: Event) -> Iterable[dict[str, Any]]:
        match event:
            case Began():
                yield {"messageStart": {"role": "assistant"}}
            case Text(text):
                if not self._open:
                    # A text block has no start event: its first delta is its beginning.
                    self._open = True
                    self._index += 1
                yield self._delta({"text": text})
            case ToolUse(id, name, given):
                yield from self._close()
                self._index += 1
                start = {"toolUse": {"toolUseId": f"tooluse_{id}", "name": name}}
                yield {"contentBlockStart": {"start": start, "contentBlockIndex": self._index}}
                text = msgspec.json.encode(given).decode()
                for part in (text[: len(text) // 2], text[len(text) // 2 :]):
                    yield self._delta({"toolUse": {"input": part}})
                self._open = True
                yield from self._close()

    def last(self, ended: Ended, metrics: Metrics) -> Iterable[dict[str, Any]]:
        yield from self._close()
        yield {"messageStop": {"stopReason": ended.reason}}
        numbers = {"usage": usage(metrics), "metrics": {"latencyMs": metrics.latency_ms}}
        yield {"metadata": numbers | trace(self._guardrail, ended)}

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"contentBlockDelta": {"delta": delta, "contentBlockIndex": self._index}}

    def _close(self) -> Iterable[dict[str, Any]]:
        if self._open:
            self._open = False
            yield {"contentBlockStop": {"contentBlockIndex": self._index}}


def usage(metrics: Metrics) -> dict[str, int]:
    return {
        "inputTokens": metrics.input_tokens,
        "outputTokens": metrics.output_tokens,
        "totalTokens": metrics.input_tokens + metrics.output_tokens,
    }


def _check_roles(messages: Sequence[Message]) -> None:
    if not messages or messages[0].role != "user":
        raise invalid(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    if any(before.role == after.role for before, after in pairwise(messages)):
        raise invalid(
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
            "between user and assistant roles and try again."
        )


def _check_content(message: Message, index: int) -> None:
    if not message.content:
        raise invalid(
            f"The content field in the Message object at messages.{index} is empty. Add a ContentBlock object to the "
            "content field and try again."
        )
    for at, block in enumerate(message.content):
        if block.text is not None and not block.text.strip():
            raise invalid(
                f"The text field in the ContentBlock object at messages.{index}.content.{at} is blank. Add text to the "
                "text field, and try again."
            )


def _check_tool_results(messages: Sequence[Message]) -> None:
    """Every call of a tool has its result in the turn after it, and every result its call in the turn before."""
    for index, (before, after) in enumerate(pairwise(messages), 1):
        called = [block.tool_use.tool_use_id for block in before.content if block.tool_use]
        answered = {block.tool_result.tool_use_id for block in after.content if block.tool_result}
        if unanswered := [each for each in called if each not in answered]:
            raise invalid(
                f"Expected toolResult blocks at messages.{index}.content for the following Ids: {', '.join(unanswered)}"
            )
        if len(answered) > len(called):
            raise invalid(
                f"The number of toolResult blocks at messages.{index}.content exceeds the number of toolUse blocks of "
                "previous turn."
            )


def _turn(message: Message, index: int) -> Turn:
    texts: list[str] = []
    image_tokens = 0
    for at, block in enumerate(message.content):
        where = f"messages.{index}.content.{at}.image.source.bytes"
        if block.text is not None:
            texts.append(block.text)
        if block.guard_content:
            texts.append(block.guard_content.text.text)
        if block.image:
            image_tokens += _image(block.image, where)
        if block.tool_use:
            texts.append(f"{block.tool_use.name}({msgspec.json.encode(block.tool_use.input).decode()})")
        if block.tool_result:
            parts = block.tool_result.content
            texts += [part.text or msgspec.json.encode(part.json).decode() for part in parts if not part.image]
            image_tokens += sum(_image(part.image, where) for part in parts if part.image)
    return Turn(message.role, "\n".join(texts), image_tokens)


def _image(image: Image, where: str) -> int:
    return images.tokens(decoded(image.source.bytes, where), image.format, where)


def _schema(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        raise invalid("outputConfig.textFormat.structure.jsonSchema.schema is not a JSON schema.") from None


def _block(block: Text | ToolUse) -> dict[str, Any]:
    if isinstance(block, Text):
        return {"text": block.text}
    return {"toolUse": {"toolUseId": f"tooluse_{block.id}", "name": block.name, "input": block.input}}
