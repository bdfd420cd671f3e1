"""A small HTTP/1.1 client for the engine next door: one connection per call, closed to abort it.

Engines run as children of this container and speak HTTP on a private socket. Connecting there costs microseconds, so
nothing is pooled, and closing the connection is how an engine learns that nobody wants the rest. We close our half, and
the engine closes the other when it has let go of the call: only then its thread is free for another.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httptools

from serving.refusal import EngineFailed, EngineTimedOut

CONNECT_TIMEOUT_S = 5.0
MAX_HEAD_BYTES = 64 * 1024
# Above this many unread bytes the engine is made to wait: a slow reader must not fill our memory.
HIGH_WATER = 256 * 1024
# llama.cpp looks once a second whether its caller is still there, but not while it cuts a prompt into tokens: 5.6 MB of
# it took more than 12 s.
LEAVE_TIMEOUT_S = 60.0


class Wire(asyncio.Protocol):
    """One exchange: writes the request once, collects the answer. Fed by llhttp, read by one task."""

    def __init__(self, request: bytes, silence_s: float, over: Callable[[], None]) -> None:
        self.status = 0
        self.content_type = "application/json"
        self._request = request
        self._silence_s = silence_s
        self._over: Callable[[], None] | None = over
        self._leaving: asyncio.TimerHandle | None = None  # once nobody wants the rest
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: deque[bytes] = deque()
        self._unread_bytes = 0
        self._head_bytes = 0
        self._complete = False
        self._broken = False
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)
        self._request = b""  # a prompt is not kept for longer than it is needed

    def data_received(self, data: bytes) -> None:
        if self._leaving:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._broken = True
        if not self.status:  # now: the head may have come together with much of the body
            self._head_bytes += len(data)
        if self._broken or self._head_bytes > MAX_HEAD_BYTES:
            self._broken = True
            self.close()
        self._wake()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._broken = self._broken or not self._complete
        if self._leaving:
            self._leaving.cancel()
        self._wake()
        self.let_go()

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self.content_type = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._unread_bytes += len(body)
        if self._unread_bytes > HIGH_WATER and self._transport:
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._complete = True

    # The reader's side

    async def wait_for_status(self) -> None:
        """Until the status is known. Raises: EngineFailed, EngineTimedOut."""
        while not self.status:
            await self._wait_for_more()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes, pieces that came together joined. Raises: EngineFailed, EngineTimedOut."""
        while True:
            if self._pieces:
                piece = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
                self._pieces.clear()
                self._unread_bytes = 0
                if self._transport and not self._transport.is_closing():
                    self._transport.resume_reading()
                yield piece
            elif self._complete:
                return
            else:
                await self._wait_for_more()

    async def _wait_for_more(self) -> None:
        if self._broken:
            raise EngineFailed("the engine broke off its answer")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._silence_s):
                await self._waiter
        except TimeoutError:
            raise EngineTimedOut("the engine did not answer in time") from None
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        if self._transport:
            self._transport.abort()

    def leave(self) -> None:
        """Nobody wants what is still to come."""
        if self._leaving or not self._transport or self._transport.is_closing():
            return
        self._leaving = asyncio.get_running_loop().call_later(LEAVE_TIMEOUT_S, self.close)
        self._pieces.clear()
        self._transport.resume_reading()
        try:
            self._transport.write_eof()
        except OSError:  # it has just gone
            self.close()

    def let_go(self) -> None:
        """The engine has nothing to do with it, or nothing any more."""
        over, self._over = self._over, None
        if over:
            over()


@asynccontextmanager
async def exchange(
    socket: Path, method: str, path: str, body: bytes, silence_s: float, over: Callable[[], None] = lambda: None
) -> AsyncIterator[Wire]:
    """Send one request and yield its answer once the status is known; leaving the block ends it.

    `over` is called once, when the engine has let go of it.

    Raises: EngineFailed, EngineTimedOut.
    """
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    wire = Wire(head.encode() + body, silence_s, over)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await loop.create_unix_connection(lambda: wire, str(socket))
    except (OSError, TimeoutError):
        wire.let_go()
        raise EngineFailed("the engine cannot be reached") from None
    except asyncio.CancelledError:
        wire.let_go()
        raise
    try:
        await wire.wait_for_status()
        yield wire
    finally:
        wire.leave()
