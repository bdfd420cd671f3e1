"""One answer: what control has laid down, or else what the model says; cut at stop sequences, judged by a guardrail."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from emulators.bedrock.catalogue import Model as FoundationModel
from emulators.bedrock.conversation import Began, Conversation, Ended, Event, Events, Model, Text, ToolUse
from emulators.bedrock.guardrail import Guardrail
from emulators.bedrock.instance import instance
from emulators.bedrock.refusal import invalid

NewId = Callable[[], UUID]

_WORD = re.compile(r"\s*\S+\s*\Z|\s*\S+")


class Laid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A block of an answer that control has laid down: text, or the call of a tool."""

    text: str | None = None
    tool: str | None = None
    input: dict[str, Any] = {}


async def answer(
    called: FoundationModel,
    asked: Conversation,
    model: Model,
    laid: Sequence[Laid] | None,
    guardrail: Guardrail | None,
    new_id: NewId,
) -> Events:
    """The events of one answer: `called` sets its bounds, `model` gives it.

    Raises Refused before anything is said, ModelBroke after it.
    """
    if guardrail:
        asks = guardrail.judged([turn.text for turn in asked.turns if turn.role == "user"])
        if asks.blocked:
            yield Began(0)
            yield Text(guardrail.blocked_input)
            yield Ended("guardrail_intervened", 0, assessed={"inputAssessment": {guardrail.id: asks.assessment}})
            return
    prompt_tokens = await model.count(asked) + asked.image_tokens
    called.check_length(prompt_tokens)
    yield Began(prompt_tokens)
    said = _laid(_forced(asked) if laid is None else laid, asked, new_id) or _until_stop(model.say(asked), asked.stop)
    async for event in said if guardrail is None else _judged(said, guardrail):
        yield event


def _forced(asked: Conversation) -> Sequence[Laid]:
    """What must be said, since the demo model would not say it: a tool that must be called, JSON of a schema."""
    if asked.forced:
        return [Laid(tool=asked.forced.name, input=instance(asked.forced.schema))]
    if asked.json_schema is not None:
        return [Laid(text=msgspec.json.encode(instance(asked.json_schema)).decode())]
    return []


def _laid(blocks: Sequence[Laid], asked: Conversation, new_id: NewId) -> AsyncIterator[Event] | None:
    if not blocks:
        return None
    known = {tool.name for tool in asked.tools}
    if unknown := {block.tool for block in blocks if block.tool} - known:
        raise invalid(f"Control laid down calls of tools that the request does not offer: {sorted(map(str, unknown))}")
    return _say(blocks, new_id)


async def _say(blocks: Sequence[Laid], new_id: NewId) -> AsyncIterator[Event]:
    """A word of text is a token, and so is a tool's name and each member of its input."""
    tokens, called = 0, False
    for block in blocks:
        if block.tool:
            called = True
            tokens += 1 + len(block.input)
            yield ToolUse(new_id().hex, block.tool, block.input)
            continue
        for word in _WORD.findall(block.text or ""):
            tokens += 1
            yield Text(word)
    yield Ended("tool_use" if called else "end_turn", tokens)


async def _until_stop(said: AsyncIterator[Text | Ended], stop: Sequence[str]) -> AsyncIterator[Event]:
    """Up to the first stop sequence, which is not said. Done here because a server does not tell which one it met."""
    held, tokens = "", 0
    async for event in said:
        if isinstance(event, Ended):
            if held:
                yield Text(held)
            yield event
            return
        tokens += 1
        held += event.text
        if met := [(held.index(each), each) for each in stop if each in held]:
            at, sequence = min(met)
            if at:
                yield Text(held[:at])
            yield Ended("stop_sequence", tokens, sequence)
            return
        safe = len(held) - _begun(held, stop)
        if safe:
            yield Text(held[:safe])
            held = held[safe:]


def _begun(text: str, stop: Sequence[str]) -> int:
    """How many characters at the end could be the beginning of a stop sequence."""
    return max((n for each in stop for n in range(1, len(each)) if text.endswith(each[:n])), default=0)


async def _judged(said: AsyncIterator[Event], guardrail: Guardrail) -> AsyncIterator[Event]:
    """A guardrail lets nothing out before it has seen everything."""
    events = [event async for event in said]
    text = "".join(event.text for event in events if isinstance(event, Text))
    judged = guardrail.judged([text])
    if not judged.assessment:
        for event in events:
            yield event
        return
    if not judged.blocked:
        # A masked answer goes on: its text comes first and at once, and how it ends is as it was.
        yield Text(judged.masked[0])
        for event in events:
            if not isinstance(event, Text):
                yield event
        return
    tokens = sum(event.output_tokens for event in events if isinstance(event, Ended))
    yield Text(guardrail.blocked_output)
    yield Ended("guardrail_intervened", tokens, assessed={"outputAssessments": {guardrail.id: [judged.assessment]}})
