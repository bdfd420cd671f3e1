"""Converse: its body read and its answer written, and the turns that Nova's own body shares with it."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from emulators.bedrock import images, rules
from emulators.bedrock.blocks import GuardrailConfig, Image, Message, Request, ToolConfig
from emulators.bedrock.catalogue import Model
from emulators.bedrock.conversation import Began, Conversation, Ended, Event, Text, Tool, ToolUse, Turn
from emulators.bedrock.refusal import invalid
from emulators.bedrock.shape import Metrics, Said, ceiling, decoded


def conversation(asked: Request, model: Model) -> Conversation:
    """Raises Refused, in Bedrock's words."""
    config = asked.inference_config
    text_format = asked.output_config.text_format
    read = turns(asked.messages, has_tools=asked.tool_config is not None)
    rules.check_request(asked, model)
    offered = tools(asked.tool_config)
    forced = rules.forced(asked.tool_config, offered)
    max_tokens = ceiling(config.max_tokens or model.most_tokens, model.most_tokens)
    own = asked.additional_model_request_fields
    rules.check_additional(own, model, max_tokens, config.temperature, asked.tool_config)
    return Conversation(
        turns=read,
        system="\n".join(block.text for block in asked.system if block.text),
        max_tokens=max_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        stop=tuple(config.stop_sequences),
        tools=offered,
        forced=forced,
        json_schema=_schema(text_format.structure.json_schema.schema) if text_format else None,
    )


def turns(messages: Sequence[Message], *, has_tools: bool) -> tuple[Turn, ...]:
    """Raises Refused."""
    rules.check_conversation(messages, has_tools=has_tools)
    return tuple(_turn(message, index) for index, message in enumerate(messages))


def tools(config: ToolConfig | None) -> tuple[Tool, ...]:
    entries = config.tools if config else ()
    return tuple(Tool(entry.tool_spec.name, entry.tool_spec.input_schema.json) for entry in entries if entry.tool_spec)


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
