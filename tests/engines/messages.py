"""Anthropic's Messages, as the surface asks an engine for them."""

from typing import Any

import msgspec

from chalicelib.call import Call, Operation

HELLO = [{"role": "user", "content": "Hello"}]


def asked(operation: Operation = "messages", *, stream: bool = False, **fields: Any) -> Call:
    """A call as the surface makes it."""
    body = {"model": "model-a", "messages": HELLO, "max_tokens": 16, **fields}
    return Call(
        request_id="req-1",
        operation=operation,
        pool="model-a",
        fields={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()},
        stream=stream,
        prompt_tokens=4,
        ceiling_tokens=0 if operation == "messages.count_tokens" else 16,
        choices=1,
        tenant_tag="tag-1",
    )


_ANSWER = {"id": "msg_1", "type": "message", "role": "assistant", "model": "model-a", "stop_sequence": None}
WHOLE = {
    **_ANSWER,
    "content": [{"type": "text", "text": "Hello there"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 7, "output_tokens": 2},
}


def _gained(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


STREAM: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {**_ANSWER, "content": [], "stop_reason": None, "usage": {"input_tokens": 7, "output_tokens": 1}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    _gained("Hello"),
    _gained(" there"),
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
"""The same, event by event."""
