"""Many streams at once, begun together: when each says its first word, and how evenly it goes on."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.load import Request

EVENT = b"data: {"
END = b"data: [DONE]\n\n"


@dataclass
class Held:
    """One stream, as its client saw it. Times in nanoseconds."""

    first_ns: int = 0  # from the request to the first event
    total_ns: int = 0
    gaps_ns: list[int] = field(default_factory=list)  # between reads that brought events
    events: int = 0
    wrong: str = ""  # what came instead of a whole stream


class _Stream(asyncio.Protocol):
    def __init__(self) -> None:
        self.held = Held()
        self.over = asyncio.get_running_loop().create_future()
        self._transport: asyncio.WriteTransport | None = None
        self._sent_ns = self._last_ns = 0
        self._head = b""
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def send(self, wire: bytes) -> None:
        assert self._transport is not None
        self._sent_ns = time.perf_counter_ns()
        self._transport.write(wire)

    def data_received(self, data: bytes) -> None:
        now_ns = time.perf_counter_ns()
        if not self._last_ns:
            self._head += data
            if b"\r\n\r\n" not in self._head:
                return
            if not self._head.startswith(b"HTTP/1.1 200"):
                self._end(self._head[:300].decode(errors="replace"))
                return
        found = data.count(EVENT)
        if found:
            if self._last_ns:
                self.held.gaps_ns.append(now_ns - self._last_ns)
            else:
                self.held.first_ns = now_ns - self._sent_ns
            self._last_ns = now_ns
            self.held.events += found
        self._tail = (self._tail + data)[-64:]
        if END in self._tail:
            self.held.total_ns = now_ns - self._sent_ns
            self._end("")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"the connection broke off: {exc}")

    def _end(self, wrong: str) -> None:
        if not self.over.done():
            self.held.wrong = wrong
            self.over.set_result(None)
            assert self._transport is not None
            self._transport.close()


async def hold(port: int, requests: Sequence[Request], within_s: float) -> list[Held]:
    """Send all of the requests at the same time, each on a connection of its own, and read their answers."""
    loop = asyncio.get_running_loop()
    streams = []
    for _ in requests:
        _, stream = await loop.create_connection(_Stream, "127.0.0.1", port)
        streams.append(stream)
    for stream, asked in zip(streams, requests, strict=True):
        stream.send(asked.wire)
    await asyncio.wait([stream.over for stream in streams], timeout=within_s)
    for stream in streams:
        if not stream.over.done():
            stream._end(f"not over after {within_s:.0f} s")
    return [stream.held for stream in streams]
