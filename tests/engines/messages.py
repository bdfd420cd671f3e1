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
