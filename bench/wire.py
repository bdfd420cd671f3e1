"""A HTTP/1.1 server in one asyncio protocol: no framework, so that its own cost stays far below what is measured.

It understands what the contestants' clients send (Content-Length or chunked bodies, keep-alive, pipelining)
and nothing else.
"""

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import NamedTuple

HEAD_END = b"\r\n\r\n"


class Request(NamedTuple):
    method: bytes
    path: bytes
    head: bytes  # all header lines, names lower-cased where `header` looks for them
    body: bytes


class Reply:
    """Where a handler writes; `alive` turns False when the client has left."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    @property
    def alive(self) -> bool:
        return not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        self._transport.write(data)


Handler = Callable[[Request, Reply], None]


def header(head: bytes, name: bytes) -> bytes | None:
    """The value of a header, its name given in lower case."""
    lowered = head.lower()
    start = lowered.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    return head[start : lowered.find(b"\r\n", start)].strip()


def reply(body: bytes, *, status: str = "200 OK", content_type: str = "application/json", extra: str = "") -> bytes:
    """A whole answer in one buffer."""
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    ).encode() + body


class Connection(asyncio.Protocol):
    """One client connection; requests are answered in the order of their arrival."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        while self._buffer and self._take():
            pass

    def _take(self) -> bool:
        """Answer one whole request, if there is one."""
        assert self._transport is not None
        end = self._buffer.find(HEAD_END)
        if end < 0:
            return False
        head = self._buffer[: end + 2]
        start = end + len(HEAD_END)
        length = header(head, b"content-length")
        if length is not None:
            stop = start + int(length)
            if len(self._buffer) < stop:
                if header(head, b"expect") is not None and len(self._buffer) == start:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return False
            body = self._buffer[start:stop]
        elif header(head, b"transfer-encoding") is not None:
            closing = self._buffer.find(b"0\r\n\r\n", start)
            if closing < 0:
                return False
            body, stop = dechunked(self._buffer[start:closing]), closing + 5
        else:
            body, stop = b"", start
        self._buffer = self._buffer[stop:]
        method, path, _ = head[: head.find(b"\r\n")].split(b" ", 2)
        self._handler(Request(method, path, head, body), Reply(self._transport))
        return True


def dechunked(data: bytes) -> bytes:
    """The body of complete chunks, without the last, empty one."""
    parts, at = [], 0
    while at < len(data):
        line = data.find(b"\r\n", at)
        size = int(data[at:line].split(b";")[0], 16)
        parts.append(data[line + 2 : line + 2 + size])
        at = line + 4 + size
    return b"".join(parts)


async def _serve(port: int, handler: Handler) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    server = await loop.create_server(lambda: Connection(handler), "127.0.0.1", port, backlog=1024)
    print("ready", flush=True)
    await stop.wait()
    server.close()


def serve(port: int, handler: Handler) -> None:
    """Serve on loopback until SIGTERM; says `ready` on standard output when it listens."""
    asyncio.run(_serve(port, handler))
