"""What goes back: a whole JSON answer, or a stream with its comments; either way closed once and counted."""

import re

import msgspec
from starlette.types import Send

from serving.engines import Reply
from serving.queue import Forecast
from serving.refusal import EngineFailed, EngineRefused, Refusal

DONE = b"data: [DONE]"
MAX_ERROR_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024
ERROR = b'data: {"error"'  # cannot stand inside an event: quotes in there are escaped
MAX_EVENT_BYTES = 8 * 1024 * 1024
# llama.cpp says 500 or 501 to nearly everything a caller gets wrong: a field, a schema, what the model cannot do. A 5xx
# of ours counts against the instance, and nobody may be able to talk a healthy one out of service.
TOO_HARSH = ("server_error", "not_supported_error")
ENGINES_FAULT = re.compile(r"compute|decode|memory|slot|internal", re.IGNORECASE)
USAGE = re.compile(rb'"usage":\s*(\{)')


class Usage(msgspec.Struct, frozen=True):
    total_tokens: int = 0
    completion_tokens: int = 0


class Counted(msgspec.Struct, frozen=True):
    usage: Usage | None = None


class Reported(msgspec.Struct, frozen=True):
    message: str
    type: str = "server_error"
    code: str | int | None = None


class EngineError(msgspec.Struct, frozen=True):
    error: Reported


_counted = msgspec.json.Decoder(Counted)


class Answer:
    """Writes one HTTP response. `status`, `queue_ms` and `tokens` are for the journal."""

    def __init__(self, send: Send, instance: str) -> None:
        self.status = 0
        self.queue_ms = 0
        self.tokens = 0
        self._send = send
        self._instance = instance
        self._closed = False

    async def waiting(self, forecast: Forecast) -> None:
        if not self.status:
            await self._begin_stream({})
        text = f": queue_position={forecast.position} predicted_start_ms={forecast.start_in_ms}\n\n"
        await self._write(text.encode())

    async def stream(self, reply: Reply) -> None:
        """Pass an engine's stream on, piece by piece. Raises: EngineRefused, EngineFailed, EngineTimedOut."""
        if reply.status != 200 or not reply.content_type.startswith("text/event-stream"):
            raise await _refused(reply)
        if not self.status:
            await self._begin_stream({"x-queue-time-ms": str(self.queue_ms)})
        # In front of the first token, in the same write: what a client measures as its first byte is a token.
        before = f": started queue_ms={self.queue_ms}\n\n".encode()
        rest = b""
        done = False
        async for piece in reply.pieces():
            # Only whole events go out, so that one that tells of a failure can be held back.
            whole, mark, rest = (rest + piece).rpartition(b"\n\n")
            if len(rest) > MAX_EVENT_BYTES:
                raise EngineFailed("the engine's answer is too large")
            if not mark:
                continue
            if ERROR in whole:
                whole, _, error = whole.partition(ERROR)
                await self._write(before + whole)
                raise _refusal(502, ERROR[6:] + error.partition(b"\n")[0])
            self.tokens += whole.startswith(b"data: {") + whole.count(b"\n\ndata: {")
            if b'"usage":' in whole:
                self._count_stream(whole)
            done = whole.endswith(DONE)
            await self._write(before + whole + mark)
            before = b""
        if not done:
            raise EngineFailed("the engine broke off its answer")
        await self._close(b"")

    async def whole(self, reply: Reply) -> None:
        """Raises: EngineRefused, EngineFailed, EngineTimedOut."""
        if reply.status != 200:
            raise await _refused(reply)
        body = await _read(reply, MAX_ANSWER_BYTES)
        try:
            usage = _counted.decode(body).usage
        except (msgspec.DecodeError, RecursionError):
            raise EngineFailed("the engine's answer is not what it should be") from None
        self.tokens = usage.completion_tokens or usage.total_tokens if usage else 0
        await self._begin(200, {"content-type": reply.content_type, **self._marks(self.queue_ms)}, len(body))
        await self._close(body)

    async def refuse(self, refusal: Refusal) -> None:
        """As the response or, when that has begun, as its last event: then the stream ends without [DONE]."""
        if self._closed:
            return
        if self.status:
            await self._close(b"data: " + refusal.body + b"\n\n")
            return
        headers = {"content-type": "application/json", **self._marks(self.queue_ms), **refusal.headers}
        if refusal.status in (408, 413):  # the rest of the body is still on its way
            headers["connection"] = "close"
        await self._begin(refusal.status, headers, len(refusal.body))
        await self._close(refusal.body)

    async def _begin_stream(self, headers: dict[str, str]) -> None:
        marks = {"x-amzn-sagemaker-custom-attributes": f"instance={self._instance}", "x-instance-id": self._instance}
        await self._begin(200, {"content-type": "text/event-stream", "cache-control": "no-store", **marks, **headers})

    async def _begin(self, status: int, headers: dict[str, str], length: int | None = None) -> None:
        self.status = status
        raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
        if length is not None:
            raw.append((b"content-length", str(length).encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _close(self, data: bytes) -> None:
        self._closed = True
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    def _marks(self, queue_ms: int) -> dict[str, str]:
        return {
            "x-amzn-sagemaker-custom-attributes": f"instance={self._instance};queue_ms={queue_ms}",
            "x-instance-id": self._instance,
            "x-queue-time-ms": str(queue_ms),
        }

    def _count_stream(self, piece: bytes) -> None:
        """Take the engine's own count, if this really is its usage event and not a word in an answer."""
        for line in piece.split(b"\n"):
            if line.startswith(b"data: {") and USAGE.search(line):
                try:
                    usage = _counted.decode(line[6:]).usage
                except msgspec.DecodeError:
                    continue
                if usage:
                    self.tokens = usage.completion_tokens


async def _refused(reply: Reply) -> EngineRefused:
    """What the engine said instead of an answer. Raises: EngineFailed, when it made no sense."""
    return _refusal(reply.status, await _read(reply, MAX_ERROR_BYTES))


def _refusal(status: int, body: bytes) -> EngineRefused:
    try:
        error = msgspec.json.decode(body, type=EngineError).error
    except (msgspec.DecodeError, RecursionError):
        raise EngineFailed("the engine's answer is not what it should be") from None
    if not 400 <= status < 500:
        status = 400 if error.type in TOO_HARSH and not ENGINES_FAULT.search(error.message) else 502
    return EngineRefused(status, error.message, error.type, error.code if isinstance(error.code, str) else error.type)


async def _read(reply: Reply, limit: int) -> bytes:
    pieces = []
    size = 0
    async for piece in reply.pieces():
        size += len(piece)
        if size > limit:
            raise EngineFailed("the engine's answer is too large")
        pieces.append(piece)
    return b"".join(pieces)
