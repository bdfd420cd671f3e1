"""One HTTP exchange with another process of this machine: a container, say.

Every exchange has a connection of its own, because closing it is the only way to tell the other side
that nobody waits any more. On loopback a connection costs some 0.1 ms.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httptools

PIECE_BYTES = 65_536


class ExchangeFailed(Exception):
    """The server could not be reached, hung up early, or does not speak HTTP. The text is for a log."""


class Reply:
    """The answer: its status and headers are there, its body is read as it arrives."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        """By lower-case name."""
        self._reader = reader
        self._parser = httptools.HttpResponseParser(self)
        self._headers_complete = False
        self._complete = False
        self._body: list[bytes] = []

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, piece by piece, in real time. Raises ExchangeFailed where it ends too early."""
        while True:
            pieces, self._body = self._body, []
            for piece in pieces:
                yield piece
            if self._complete:
                return
            await self._advance()

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.pieces()])

    async def begin(self) -> None:
        """Wait for the status and the headers."""
        while not self._headers_complete:
            await self._advance()

    async def _advance(self) -> None:
        try:
            received = await self._reader.read(PIECE_BYTES)
        except OSError as error:
            raise ExchangeFailed(f"connection lost: {error}") from error
        if received:
            try:
                self._parser.feed_data(received)
            except httptools.HttpParserError as error:
                raise ExchangeFailed(f"not HTTP: {error}") from error
        elif self._headers_complete and not self.headers.keys() & {"content-length", "transfer-encoding"}:
            self._complete = True  # a body without a length ends with its connection
        else:
            raise ExchangeFailed("the connection was closed before the answer was complete")

    # httptools calls these by name.

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._headers_complete = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._complete = True


@asynccontextmanager
async def exchange(
    url: str, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
) -> AsyncIterator[Reply]:
    """Send one request to the server at `url` (http://host:port) and hold its answer.

    Leaving the context closes the connection, read to its end or not. Raises ExchangeFailed.
    """
    where = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
    except OSError as error:
        raise ExchangeFailed(f"no connection to {where.netloc}: {error.strerror}") from error
    try:
        lines = [f"{method} {path} HTTP/1.1", f"host: {where.netloc}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1") + body)
        reply = Reply(reader)
        await reply.begin()
        yield reply
    finally:
        # Abort, not close: what is still unsent is for nobody.
        writer.transport.abort()
