"""How a request comes and its answer leaves: in the clear here, sealed in `sealing.envelope`."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import msgspec

from serving.queue import Forecast
from serving.refusal import Refusal
from serving.reply import Piece, Usage
from serving.request import Attributes, Call, read


class Preview(msgspec.Struct, frozen=True):
    """What is known of a request before its turn comes. `mode` says how it is sealed; empty: it is not."""

    model: str | None = None
    stream: bool = False
    mode: str = ""


class Envelope(Protocol):
    """One request's, from its body to the last byte of its answer."""

    def read(self, body: bytes, attributes: Attributes) -> Preview:
        """Take the body in, as far as it can be understood before its turn. Raises: Refusal."""
        ...

    def open(self, model: str) -> AbstractAsyncContextManager[Call]:
        """What the engine is to run, as soon as somebody may run it. Raises: Refusal."""
        ...

    def media_type(self, inside: str) -> str:
        """Of an answer that is of type `inside`."""
        ...

    def waiting(self, forecast: Forecast) -> bytes:
        """What a stream says to one who waits."""
        ...

    def started(self, queue_ms: int) -> bytes:
        """What stands in front of a stream's first piece."""
        ...

    async def piece(self, piece: Piece) -> bytes:
        """A piece of a stream. Raises: Refusal."""
        ...

    async def whole(self, body: bytes, usage: Usage, queue_ms: int) -> bytes:
        """An answer that is no stream. Raises: Refusal."""
        ...

    def refused(self, refusal: Refusal) -> bytes:
        """The end of a stream that was begun and cannot go on."""
        ...


class ClearEnvelope:
    """OpenAI's own bodies, and the engine's own events."""

    def read(self, body: bytes, attributes: Attributes) -> Preview:
        """Raises: Malformed."""
        self._call = read(body, attributes)
        return Preview(self._call.model, self._call.stream)

    @asynccontextmanager
    async def open(self, _model: str) -> AsyncIterator[Call]:
        yield self._call

    def media_type(self, inside: str) -> str:
        return inside

    def waiting(self, forecast: Forecast) -> bytes:
        return f": queue_position={forecast.position} predicted_start_ms={forecast.start_in_ms}\n\n".encode()

    def started(self, queue_ms: int) -> bytes:
        return f": started queue_ms={queue_ms}\n\n".encode()

    async def piece(self, piece: Piece) -> bytes:
        return piece.data

    async def whole(self, body: bytes, _usage: Usage, _queue_ms: int) -> bytes:
        return body

    def refused(self, refusal: Refusal) -> bytes:
        """An event of its own; the stream then ends without [DONE]."""
        return b"data: " + refusal.body + b"\n\n"
