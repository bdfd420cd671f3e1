"""What a stream carries while its model says nothing: proxies and phones give up on a connection that is silent.

A door that is asked for a stream promises one before it asks a model (`outgoing.promise`). A transport that sends as it
comes may then open it by itself, where nothing has come for too long: with what headers are known, and a sign of life.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Protocol

import msgspec

from chalicelib.http.problems import Shape

COMMENT = b": keep-alive\n\n"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
"""Anthropic's own sign of life."""


class Gaps(msgspec.Struct, frozen=True):
    """How long a stream may say nothing: before its first event, and ever after."""

    first_s: float = 5.0
    next_s: float = 10.0


class Promise(msgspec.Struct, frozen=True):
    """Of a stream of events: what it is opened with, its sign of life, and what refuses it after all."""

    headers: Mapping[str, str]
    sign: bytes
    refusal: Callable[[bytes], bytes]
    """The last events, made of the body that the refusal would have had."""


class StreamingTransport(Protocol):
    def promised(self, promise: Promise) -> None:
        """From the thread that makes the reply, before it is made."""


streaming_transport: ContextVar[StreamingTransport | None] = ContextVar("streaming_transport", default=None)
"""Whoever called the app, where they send the body as it comes (the bridge); None on plain Lambda."""


def refusal_event(body: bytes, shape: Shape) -> bytes:
    """A refusal's body as the last event of a stream, whose status is long gone."""
    name = b"" if shape == "openai" else b"event: error\n"
    return name + b"data: " + body + b"\n\n"
