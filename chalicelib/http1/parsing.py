"""Answers, out of the bytes of one connection: bytes in, heads and bodies out. Sans-IO.

httptools (llhttp, the parser of Node) reads the syntax, and refuses what would let two readers see two things: a
length beside chunks, two lengths, bare line feeds, blanks before a colon (RFC 9112 sections 5, 6, 7). What is left to
us: which answers have an end (section 6.3), which are interim (RFC 9110 section 15.2), and how much is read in vain.
"""

from collections.abc import Mapping

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from chalicelib.http1.failure import BrokeOff, NotHttp

VAIN_BYTES = 64 * 1024
"""The longest head, interim ones before it included; and the most that is read between two bytes of a body: the
extensions of a chunk, trailers."""


class Head(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]  # by lower-case name; of one that comes twice both, with a comma between


class Parsing:
    """One answer after the other, on one connection. Not thread-safe."""

    __slots__ = ("_fields", "_framed", "_parser", "_pieces", "_vain", "_wrong", "ended", "head", "reusable")

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.expect()

    def expect(self) -> None:
        """The next answer begins with the next byte. Only where the one before has ended, and left it `reusable`."""
        self.head: Head | None = None
        self.ended = False  # the body is whole; what comes now belongs to nothing
        self.reusable = False  # the answer has ended, and another one may follow
        self._framed = False  # the answer says itself where it ends
        self._fields: dict[str, str] = {}
        self._pieces: list[bytes] = []
        self._vain = 0
        self._wrong = ""

    @property
    def untouched(self) -> bool:
        """Not one byte of the answer has come."""
        return self.head is None and not self._vain

    def feed(self, data: bytes) -> None:
        """What was read, at most 64 KiB at once. Raises NotHttp."""
        self._vain += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._wrong = "upgrade"
        except HttpParserError:
            if not self.ended:
                raise NotHttp(self._wrong or "no http") from None
            self.reusable = False
        if self._wrong:
            raise NotHttp(self._wrong)
        if self._vain > VAIN_BYTES:
            raise NotHttp("head too long" if self.head is None else "chunk too odd")

    def feed_end(self) -> None:
        """The other side has ended the connection. Raises BrokeOff, unless that is how this answer ends."""
        self.reusable = False
        if self.ended:
            return
        if self.head is None or self._framed:
            raise BrokeOff("closed early")
        self.ended = True

    def take(self) -> bytes:
        """What has come of the body since the last time; empty if nothing has."""
        pieces = self._pieces
        if not pieces:
            return b""
        self._pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # what httptools calls

    def on_message_begin(self) -> None:
        if self.ended:  # an answer that nobody asked for
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is None:  # else a trailer: nothing that we ask sends one that matters
            key, said = name.lower().decode("latin-1"), value.decode("latin-1")
            before = self._fields.get(key)
            self._fields[key] = said if before is None else f"{before}, {said}"

    def on_headers_complete(self) -> None:
        if self.ended:
            return
        status = self._parser.get_status_code()
        fields = self._fields
        version = self._parser.get_http_version()
        if version != "1.1" and (version != "1.0" or "transfer-encoding" in fields):
            self._wrong = "version"
        elif status == 101:
            self._wrong = "upgrade"
        elif 100 <= status < 200:
            self._fields = {}
        elif fields.get("transfer-encoding", "chunked").lower() != "chunked":
            self._wrong = "transfer coding"
        else:
            self._framed = "transfer-encoding" in fields or "content-length" in fields
            self.head = Head(status, fields)

    def on_body(self, body: bytes) -> None:
        if not self.ended:
            self._pieces.append(body)
            self._vain = 0

    def on_message_complete(self) -> None:
        if self.head is not None and not self.ended:
            self.ended = True
            self.reusable = self._parser.should_keep_alive()
