"""Answers as OpenAI-compatible servers write them, and the calls that ask for them."""

from collections.abc import Iterable, Iterator

import msgspec

from chalicelib.call import Call, Event, Operation
from chalicelib.engines.transport.streams import Fileless
from chalicelib.refusal import Refusal

USAGE = b'{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}'
WHOLE = (
    b'{"id":"chatcmpl-1","object":"chat.completion","model":"model-a","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}],"usage":'
    + USAGE
    + b',"extra":{"kept":true}}'
)
USAGE_CHUNK = (
    b'{"id":"chatcmpl-1","object":"chat.completion.chunk","model":"model-a","choices":[],"usage":' + USAGE + b"}"
)
DONE = b"data: [DONE]\n\n"


def said(text: str) -> bytes:
    """A chunk that adds `text`."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "model-a"}
    return msgspec.json.encode({**head, "choices": [choice]})


def event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


ENDED = (
    b'{"id":"chatcmpl-1","object":"chat.completion.chunk","model":"model-a","choices":'
    b'[{"index":0,"delta":{},"finish_reason":"stop"}]}'
)
STREAM = event(said("Hello")) + event(said(" there")) + event(USAGE_CHUNK) + DONE


def chat(*, stream: bool = False, operation: Operation = "chat.completions", request_id: str = "req-1") -> Call:
    return Call(
        request_id=request_id,
        operation=operation,
        pool="model-a",
        fields={"messages": msgspec.Raw(b'[{"role":"user","content":"Hi"}]'), "top_k": msgspec.Raw(b"3")},
        stream=stream,
        prompt_tokens=4,
        ceiling_tokens=16,
        choices=1,
        tenant_tag="tag-1",
    )


def ending(events: Iterator[object]) -> tuple[list[object], Refusal | None]:
    """All events, and the refusal that ended them."""
    seen: list[object] = []
    try:
        for each in events:
            seen.append(each)
    except Refusal as refusal:
        return seen, refusal
    return seen, None


class Chat:
    """A chat's stream, as an engine gives it."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = events
        self.closed = False
        self.source = Fileless()

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def close(self) -> None:
        self.closed = True
