"""What a container may say, and what it is answered: the channel's rules without its sockets.

    HELLO first, any time no exchange is open          -> DOCUMENT
    OPEN  when no exchange is open                     -> OPENED
    SEAL  while one is open; the final one ends it     -> SEALED
    DROP  always                                       -> DROPPED
    ASK   when no exchange is open                     -> TOLD

Anything may be answered by REFUSED; `protocol` also ends the connection.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from enclave.exchanges import Exchange, Opener
from enclave.journal import Entry, Journal
from enclave.questions import Questions
from enclave.refusal import NotOpened, ProtocolBroken, Refused
from sealed import ticket
from sealed.refusal import TicketRefused
from sealed.ticket import Claims

NONCE_BYTES = 32
MOST_PIECE_BYTES = 4 * 2**20  # sealed, it must still fit a frame
IDLE_S = 600.0
EXCHANGE_MS = 960_000
_FINAL = 1
_LENGTH = struct.Struct(">H")


class Said(IntEnum):
    HELLO = 0x01
    OPEN = 0x02
    SEAL = 0x03
    DROP = 0x04
    ASK = 0x05


ANSWER = 0x80
"""The answer's kind is the question's with this bit."""
REFUSED = 0xFF


class House(msgspec.Struct, frozen=True):
    """What all conversations of one enclave share."""

    questions: Questions
    opener: Opener
    gateway_keys: Mapping[bytes, Ed25519PublicKey]
    identity: bytes  # SHA-256 of the TLS certificate
    journal: Journal
    now_ms: Callable[[], int]


class _Running(NamedTuple):
    exchange: Exchange
    entry: Entry
    until_ms: int


class Conversation:
    """With one container, over one connection. Used by one thread."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._greeted = False
        self._running: _Running | None = None
        self._answers: dict[int, Callable[[bytes], bytes]] = {
            Said.HELLO: self._hello,
            Said.OPEN: self._open,
            Said.SEAL: self._seal,
            Said.DROP: self._drop,
            Said.ASK: self._ask,
        }

    @property
    def exchange_is_open(self) -> bool:
        return self._running is not None

    @property
    def patience_s(self) -> float:
        """For how long the next frame is waited for."""
        if self._running is None:
            return IDLE_S
        return (self._running.until_ms - self._house.now_ms()) / 1_000

    def answer(self, kind: int, payload: bytes) -> tuple[int, bytes]:
        """The kind and the payload of the answer. Raises Refused; after ProtocolBroken the connection must end."""
        if kind not in self._answers:
            raise ProtocolBroken(f"There is no frame of type {kind:#04x}.")
        if not self._greeted and kind != Said.HELLO:
            raise ProtocolBroken("Say HELLO first.")
        return kind | ANSWER, self._answers[kind](payload)

    def prepare(self) -> None:
        """To be called once an answer is sent: the other side is busy now, this one is not."""
        if self._running:
            self._running.exchange.prepare()

    def close(self) -> None:
        """The connection has ended; so has what was open on it."""
        self._end("broken_off")

    def _hello(self, nonce: bytes) -> bytes:
        self._nothing_may_be_open()
        if len(nonce) != NONCE_BYTES:
            raise ProtocolBroken(f"HELLO carries a nonce of {NONCE_BYTES} bytes.")
        document = self._house.questions.document(nonce, self._house.identity)
        self._greeted = True
        return document

    def _open(self, payload: bytes) -> bytes:
        self._nothing_may_be_open()
        with self._noted(payload) as entry:
            claims, blob = self._permitted(payload, entry)
            if claims.use != "run":
                raise NotOpened("use")
            plaintext, exchange = self._house.opener.open(claims, blob)
        self._running = _Running(exchange, entry, self._house.now_ms() + EXCHANGE_MS)
        return plaintext

    def _ask(self, payload: bytes) -> bytes:
        self._nothing_may_be_open()
        with self._noted(payload) as entry:
            told = self._house.questions.answer(*self._permitted(payload, entry))
        entry.bytes_out = len(told)
        self._write(entry, "told")
        return told

    def _seal(self, payload: bytes) -> bytes:
        if self._running is None:
            raise ProtocolBroken("No exchange is open.")
        if not payload or payload[0] not in (0, _FINAL):
            raise ProtocolBroken("SEAL begins with its flags.")
        if len(payload) > 1 + MOST_PIECE_BYTES:
            raise ProtocolBroken(f"SEAL takes at most {MOST_PIECE_BYTES} bytes at a time: cut the piece.")
        final = payload[0] == _FINAL
        try:
            sealed = self._running.exchange.seal(payload[1:], final=final)
        except Refused as refused:
            # Half an answer is none: nothing more is sealed under this exchange.
            self._end(refused.code, refused.why)
            raise
        self._running.entry.bytes_out += len(sealed)
        self._running.entry.pieces += 1
        if final:
            self._end("sealed")
        return sealed

    def _drop(self, payload: bytes) -> bytes:
        if payload:
            raise ProtocolBroken("DROP carries nothing.")
        self._end("dropped")
        return b""

    def _nothing_may_be_open(self) -> None:
        if self._running:
            raise ProtocolBroken("An exchange is open: SEAL its final piece, or DROP it.")

    def _permitted(self, payload: bytes, entry: Entry) -> tuple[Claims, bytes]:
        end = _LENGTH.size + int.from_bytes(payload[: _LENGTH.size])
        if len(payload) < max(end, _LENGTH.size):
            raise ProtocolBroken("The frame is shorter than its ticket.")
        signed, body = payload[_LENGTH.size : end], payload[end:]
        try:
            claims = ticket.verify(signed, body, self._house.gateway_keys, self._house.now_ms())
        except TicketRefused as error:
            raise NotOpened(error.text) from error
        entry.use, entry.mode = claims.use, claims.mode
        return claims, body

    @contextmanager
    def _noted(self, payload: bytes) -> Iterator[Entry]:
        entry = Entry(began_ms=self._house.now_ms(), bytes_in=len(payload))
        try:
            yield entry
        except Refused as refused:
            self._write(entry, refused.code, refused.why)
            raise

    def _end(self, outcome: str, why: str = "") -> None:
        if self._running:
            self._write(self._running.entry, outcome, why)
        self._running = None

    def _write(self, entry: Entry, outcome: str, why: str = "") -> None:
        entry.outcome, entry.why = outcome, why
        entry.duration_ms = self._house.now_ms() - entry.began_ms
        self._house.journal.write(entry)
