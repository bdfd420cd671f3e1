"""OpenAI's Responses, as the surface asks an engine for them, and what one that speaks them tells."""

from typing import Any

import msgspec

from chalicelib.call import Call, Delta, Event, Operation
from chalicelib.dialects.responses.answers import Answered
from chalicelib.engines.scripted import whole, words
from tests.engines.answers import Chat


def asked(operation: Operation = "responses", *, stream: bool = False, **fields: Any) -> Call:
    """A call as the surface makes it."""
    body = {"model": "model-a", "input": "Hello", "max_output_tokens": 16, **fields}
    return Call(
        request_id="req-1",
        operation=operation,
        pool="model-a",
        fields={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()},
        stream=stream,
        prompt_tokens=4,
        ceiling_tokens=16,
        choices=1,
        tenant_tag="tag-1",
    )


def says(text: str, call: Call) -> list[Event]:
    """The events of a Response that says `text`, one word a token."""
    return list(Answered(Chat(words(text) if call.stream else whole(text)), call))


def deltas(call: Call) -> list[bytes]:
    return [event.data for event in says("Hello there", call) if isinstance(event, Delta)]


STREAM = (
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
)
"""Of "Hello there" in two pieces."""
