"""What goes back: a whole answer, or a stream that first tells of the wait; either way closed once and counted."""

from starlette.types import Send

from serving.engines import Reply
from serving.envelope import Envelope
from serving.queue import Forecast
from serving.refusal import Refusal
from serving.reply import events, read_refusal, read_whole


class Answer:
    """Writes one HTTP response. `status`, `queue_ms` and `tokens` are for the journal."""

    def __init__(self, send: Send, instance: str, envelope: Envelope) -> None:
        self.status = 0
        self.queue_ms = 0
        self.tokens = 0
        self._send = send
        self._instance = instance
        self._envelope = envelope
        self._closed = False

    async def waiting(self, forecast: Forecast) -> None:
        if not self.status:
            await self._begin_stream({})
        await self._write(self._envelope.waiting(forecast))

    async def stream(self, reply: Reply) -> None:
        """Pass an engine's stream on, piece by piece. Raises: EngineRefused, EngineFailed, EngineTimedOut, Refusal."""
        if reply.status != 200 or not reply.content_type.startswith("text/event-stream"):
            raise await read_refusal(reply)
        if not self.status:
            await self._begin_stream({"x-queue-time-ms": str(self.queue_ms)})
        # In front of the first token, in the same write: what a client measures as its first byte is a token.
        before = self._envelope.started(self.queue_ms)
        async for piece in events(reply):
            self.tokens = piece.usage.completion_tokens if piece.usage else self.tokens + piece.tokens
            await self._write(before + await self._envelope.piece(piece))
            before = b""
        await self._close(b"")

    async def whole(self, reply: Reply) -> None:
        """Raises: EngineRefused, EngineFailed, EngineTimedOut, Refusal."""
        body, usage = await read_whole(reply)
        self.tokens = usage.completion_tokens or usage.total_tokens
        body = await self._envelope.whole(body, usage, self.queue_ms)
        content_type = self._envelope.media_type(reply.content_type)
        await self._begin(200, {"content-type": content_type, **self._own_headers(self.queue_ms)}, len(body))
        await self._close(body)

    async def refuse(self, refusal: Refusal) -> None:
        """As the response or, when that has begun, as the stream's own end."""
        if self._closed:
            return
        if self.status:
            await self._close(self._envelope.refused(refusal))
            return
        headers = {"content-type": "application/json", **self._own_headers(self.queue_ms), **refusal.headers}
        if refusal.status in (408, 413):  # the rest of the body is still on its way
            headers["connection"] = "close"
        await self._begin(refusal.status, headers, len(refusal.body))
        await self._close(refusal.body)

    async def _begin_stream(self, headers: dict[str, str]) -> None:
        content_type = self._envelope.media_type("text/event-stream")
        marks = {"x-amzn-sagemaker-custom-attributes": f"instance={self._instance}", "x-instance-id": self._instance}
        await self._begin(200, {"content-type": content_type, "cache-control": "no-store", **marks, **headers})

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

    def _own_headers(self, queue_ms: int) -> dict[str, str]:
        return {
            "x-amzn-sagemaker-custom-attributes": f"instance={self._instance};queue_ms={queue_ms}",
            "x-instance-id": self._instance,
            "x-queue-time-ms": str(queue_ms),
        }
