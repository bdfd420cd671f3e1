"""uvicorn's HTTP protocol for a network that nobody guards: clients that dawdle, vanish, or send without an end.

uvicorn bounds none of it: neither how long a head may take and be, nor how many connections there are, nor how long
it goes on taking the body of what has been answered. What a body may be, `bodies` says, who knows its caller.
"""

import asyncio
import sys
from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from chalicelib.http.asgi import WRITER
from chalicelib.http.ids import ids_of
from chalicelib.http.shapes import SHAPES
from chalicelib.http.surface import refused
from chalicelib.refusal import Malformed, NoCapacity, Refusal, TooLarge, TooSlow


class Connections(msgspec.Struct, frozen=True):
    """What connections may be, and take."""

    most: int = 4_096
    head_bytes: int = 32_768  # thrice what the gateway takes of headers, which proxies add some to
    head_s: float = 20.0  # from its first byte, or the connection, to its end
    unread_s: float = 60.0  # how long a client may take nothing of an answer
    # A client that still sends when it has been answered would, were the connection cut, lose the answer (RFC 9112,
    # section 9.6). So much longer it may send.
    linger_s: float = 20.0
    linger_bytes: int = 64_000_000


_OF_AN_UPGRADE = (b"upgrade", b"http2-settings")


class _HeadTooLarge(Exception):
    """Raised in a parser's callback: llhttp stops there, and uvicorn answers by `send_400_response`."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, bounds: Connections, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bounds = bounds
        self._head_due: asyncio.TimerHandle | None = None
        self._linger_due: asyncio.TimerHandle | None = None
        self._unread_due: asyncio.TimerHandle | None = None
        self._awaits_head = True  # or is in the middle of one
        self._begun = False  # with a request's head
        self._head_bytes = 0  # of what the parser has told of it
        self._silent_bytes = 0  # of what it has not: it tells of a header when it has all of it
        self._too_large = False
        self._lingered_bytes = 0
        self._refused = False
        self._upgrades = False  # if it may
        self._read_bytes = 0  # of what was received, when it turned out that it would
        self._closes = False  # as soon as its request has come to an end
        self.since_s = self.loop.time()  # it owes no answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()
        if len(self.connections) > self._bounds.most and not self._displace():
            self._refuse(NoCapacity("The service has no connection left. Try again shortly.", retry_in_ms=1_000))

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_due, self._linger_due, self._unread_due):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return self._linger(len(data))
        if self._awaits_head and self._head_due is None:
            self._expect_head()
        in_head = self._awaits_head and self._begun
        super().data_received(data)
        while self._upgrades and not self._refused:
            self._upgrades = False
            if self.owes_an_answer:
                return self._refuse(Malformed("Nothing is upgraded behind a request that is not answered yet."))
            data = self._head_as_it_counts() + data[self._read_bytes :]
            super().data_received(data)
        if in_head and self._awaits_head and not self._refused:
            self._silent_bytes += len(data)
            if self._silent_bytes > self._bounds.head_bytes:
                self._refuse_large_head()
        return None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun = True
        self._head_bytes = self._silent_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if self._awaits_head:  # else a trailer, which no proxy has looked at as at a header (RFC 9110, section 6.5.1)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._upgrades = True
            return
        self._awaits_head = self._begun = False
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = _Heard(self)  # type: ignore[assignment]  # all that a cycle uses
            self.scope["extensions"] = {WRITER: _Writer(self.cycle)}  # type: ignore[dict-item]  # ours

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            self._linger(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._upgrades:
            return
        self._awaits_head = True
        if self._linger_due is not None:
            self._linger_due.cancel()
            self._linger_due = None
        super().on_message_complete()
        if self._closes:
            self.transport.close()

    def on_response_complete(self) -> None:
        self.since_s = self.loop.time()
        super().on_response_complete()
        if not self._awaits_head and self._linger_due is None and not self.transport.is_closing():
            self._begin_to_linger()

    def close_when_heard(self) -> None:
        """Nothing more is said here; what its client is still saying is let come to an end."""
        if self._awaits_head:
            return self.transport.close()
        self._closes = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        return self._begin_to_linger()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_due = self.loop.call_later(self._bounds.unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread_due is not None:
            self._unread_due.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's
        if self._too_large:
            return self._refuse_large_head()
        return self._refuse(Malformed("This is no valid HTTP request."))

    def _unsupported_upgrade_warning(self) -> None:
        """uvicorn's, who has just caught HttpParserUpgrade, and would let go of what follows."""
        met = sys.exc_info()[1]
        self._read_bytes = met.args[0] if met is not None else 0

    def _head_as_it_counts(self) -> bytes:
        """The head that has come, without the wish for another protocol, which is not granted (RFC 9110, section 7.8).

        To a parser that has met it, what follows is of that protocol: the body would be none. Java's own client wishes
        for HTTP/2 in each request over plain HTTP.
        """
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = [field for field in self.headers if field[0] not in (b"connection", *_OF_AN_UPGRADE)]
        for name, value in self.headers:
            if name == b"connection":
                options = [each for each in value.split(b",") if each.strip().lower() not in _OF_AN_UPGRADE]
                fields.append((name, b",".join(options)))
        self.parser = type(self.parser)(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        return b"\r\n".join([line, *(b"%b: %b" % field for field in fields), b"", b""])

    @property
    def owes_an_answer(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _displace(self) -> bool:
        """Take the place of a connection that owes no answer, if there is one: of that which has owed none for longest.

        A head that has begun keeps no place either: else a few strangers with one byte each would hold all of them.
        """
        others = [
            (other.since_s, id(other), other)
            for other in self.connections
            if isinstance(other, BoundedProtocol) and other is not self and not other.owes_an_answer
        ]
        if not others:
            return False
        *_, other = min(others)
        self.connections.discard(other)
        other.transport.abort()
        return True

    def _expect_head(self) -> None:
        self._head_due = self.loop.call_later(self._bounds.head_s, self._head_is_late)

    def _head_is_late(self) -> None:
        if not self._begun:
            if self.owes_an_answer:  # empty lines behind a request, as some clients send them
                self._head_due = None
                return None
            return self.transport.close()  # who has asked nothing waits for no answer
        return self._refuse(TooSlow(f"The request's head did not arrive within {self._bounds.head_s:g} s."))

    def _refuse_large_head(self) -> None:
        most = self._bounds.head_bytes
        self._refuse(TooLarge(f"The request line and the headers are larger than {most} bytes together."))

    def _refuse(self, error: Refusal) -> None:
        """Answer what is no request, and take no other one here."""
        if self._refused or self.transport.is_closing():
            return None
        if self.owes_an_answer:
            return self.transport.abort()  # an answer is on its way, of which this would become a part
        path = self.url.partition(b"?")[0] if self._begun else b""
        reply = refused(error, SHAPES.of(path.decode("latin-1")), ids_of({}))
        status = HTTPStatus(reply.status_code)
        headers = {**reply.headers, "Content-Length": str(len(reply.body)), "Connection": "close"}
        head = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 {status.value} {status.phrase}\r\n{head}\r\n".encode("latin-1") + reply.body)
        self._refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._begin_to_linger()
        return None

    def _begin_to_linger(self) -> None:
        self._lingered_bytes = 0
        self._linger_due = self.loop.call_later(self._bounds.linger_s, self.transport.close)

    def _linger(self, size: int) -> None:
        self._lingered_bytes += size
        if self._lingered_bytes > self._bounds.linger_bytes:
            self.transport.close()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._bounds.head_bytes:
            self._too_large = True
            raise _HeadTooLarge


class _Heard:
    """The transport as uvicorn answers a request on it, whose client hears the answer though it is to be closed.

    What is written first, the head, leaves with what follows in the same turn of the loop; uvicorn writes them apart.
    """

    __slots__ = ("_held", "_protocol", "_write", "is_closing")

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self._held: bytes | None = None  # until something has been written
        self._write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def write(self, data: bytes) -> None:
        if self._held is None:
            self._held = data
            self._protocol.loop.call_soon(self._let_go)
        elif self._held:
            held, self._held = self._held, b""
            self._write(held + data)
        else:
            self._write(data)

    def close(self) -> None:
        self._let_go()
        self._protocol.close_when_heard()

    def _let_go(self) -> None:
        if self._held:
            self.write(b"")


class _Writer:
    """See asgi.Writer: of a body in chunks, as uvicorn frames them."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    @property
    def ready(self) -> bool:
        cycle = self._cycle
        return bool(cycle.chunked_encoding) and not (
            cycle.flow.write_paused or cycle.disconnected or cycle.response_complete
        )

    def write(self, piece: bytes) -> None:
        self._cycle.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
