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
from enclave.refusal import NotOpened, ProtocolBroken, Refusal
from sealed import ticket
from sealed.refusal import TicketRefused
from sealed.ticket import Claims

NONCE_BYTES = 32
MOST_PIECE_BYTES = 4 * 2**20  # sealed, it must still fit a frame
IDLE_S = 600.0
EXCHANGE_MS = 960_000
_FINAL = 1
_LENGTH = struct.Struct(">H")


class FrameKind(IntEnum):
    HELLO = 0x01
    OPEN = 0x02
    SEAL = 0x03
    DROP = 0x04
    ASK = 0x05


ANSWER = 0x80
"""The answer's kind is the question's with this bit."""
REFUSED = 0xFF


class Services(msgspec.Struct, frozen=True):
    """What all conversations of one enclave share."""

    questions: Questions
    opener: Opener
    gateway_keys: Mapping[bytes, Ed25519PublicKey]
    identity: bytes  # SHA-256 of the TLS certificate
    journal: Journal
    now_ms: Callable[[], int]


class _OpenExchange(NamedTuple):
    exchange: Exchange
    entry: Entry
    until_ms: int


class Conversation:
    """With one container, over one connection. Used by one thread."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._greeted = False
        self._open_exchange: _OpenExchange | None = None
        self._answers: dict[int, Callable[[bytes], bytes]] = {
            FrameKind.HELLO: self._hello,
            FrameKind.OPEN: self._open,
            FrameKind.SEAL: self._seal,
            FrameKind.DROP: self._drop,
            FrameKind.ASK: self._ask,
        }

    @property
    def exchange_is_open(self) -> bool:
        return self._open_exchange is not None

    @property
    def patience_s(self) -> float:
        """For how long the next frame is waited for."""
        if self._open_exchange is None:
            return IDLE_S
        return (self._open_exchange.until_ms - self._services.now_ms()) / 1_000

    def answer(self, kind: int, payload: bytes) -> tuple[int, bytes]:
        """The kind and the payload of the answer. Raises Refusal; after ProtocolBroken the connection must end."""
        if kind not in self._answers:
            raise ProtocolBroken(f"There is no frame of type {kind:#04x}.")
        if not self._greeted and kind != FrameKind.HELLO:
            raise ProtocolBroken("Say HELLO first.")
        return kind | ANSWER, self._answers[kind](payload)

    def prepare(self) -> None:
        """To be called once an answer is sent: the other side is busy now, this one is not."""
        if self._open_exchange:
            self._open_exchange.exchange.prepare()

    def close(self) -> None:
        """The connection has ended; so has what was open on it."""
        self._end("broken_off")

    def _hello(self, nonce: bytes) -> bytes:
        self._require_no_exchange()
        if len(nonce) != NONCE_BYTES:
            raise ProtocolBroken(f"HELLO carries a nonce of {NONCE_BYTES} bytes.")
        document = self._services.questions.document(nonce, self._services.identity)
        self._greeted = True
        return document

    def _open(self, payload: bytes) -> bytes:
        self._require_no_exchange()
        with self._new_entry(payload) as entry:
            claims, rules, blob = self._verify_ticket(payload, entry)
            if claims.use != "run":
                raise NotOpened("use")
            opened, exchange = self._judged(claims, rules, blob) if rules else self._services.opener.open(claims, blob)
        self._open_exchange = _OpenExchange(exchange, entry, self._services.now_ms() + EXCHANGE_MS)
        if exchange.refused:
            self._end("content_refused")
        return opened

    def _judged(self, claims: Claims, rules: bytes, blob: bytes) -> tuple[bytes, Exchange]:
        from enclave.judged import JudgedExchange, JudgingRules  # only tenants with rules load it

        judging = JudgingRules(rules)  # before anything is opened, and remembered
        plaintext, exchange = self._services.opener.open(claims, blob)
        judged = JudgedExchange(exchange, judging, claims)
        return judged.open(plaintext), judged

    def _ask(self, payload: bytes) -> bytes:
        self._require_no_exchange()
        with self._new_entry(payload) as entry:
            claims, _, body = self._verify_ticket(payload, entry)
            answer = self._services.questions.answer(claims, body)
        entry.bytes_out = len(answer)
        self._write(entry, "told")
        return answer

    def _seal(self, payload: bytes) -> bytes:
        if self._open_exchange is None:
            raise ProtocolBroken("No exchange is open.")
        if not payload or payload[0] not in (0, _FINAL):
            raise ProtocolBroken("SEAL begins with its flags.")
        if len(payload) > 1 + MOST_PIECE_BYTES:
            raise ProtocolBroken(f"SEAL takes at most {MOST_PIECE_BYTES} bytes at a time: cut the piece.")
        final = payload[0] == _FINAL
        exchange = self._open_exchange.exchange
        try:
            sealed = exchange.seal(payload[1:], final=final)
        except Refusal as refusal:
            # Half an answer is none: nothing more is sealed under this exchange.
            self._end(refusal.code, refusal.why)
            raise
        self._open_exchange.entry.bytes_out += len(sealed)
        self._open_exchange.entry.pieces += 1
        if exchange.refused:
            self._end("content_refused")
        elif final:
            self._end("sealed")
        return sealed

    def _drop(self, payload: bytes) -> bytes:
        if payload:
            raise ProtocolBroken("DROP carries nothing.")
        self._end("dropped")
        return b""

    def _require_no_exchange(self) -> None:
        if self._open_exchange:
            raise ProtocolBroken("An exchange is open: SEAL its final piece, or DROP it.")

    def _verify_ticket(self, payload: bytes, entry: Entry) -> tuple[Claims, bytes, bytes]:
        """What is permitted, by which rules it is judged (as they are written; empty: by none), and for what."""
        end = _LENGTH.size + int.from_bytes(payload[: _LENGTH.size])
        if len(payload) < max(end, _LENGTH.size):
            raise ProtocolBroken("The frame is shorter than its ticket.")
        signed, body = payload[_LENGTH.size : end], payload[end:]
        try:
            claims = ticket.verify(signed, body, self._services.gateway_keys, self._services.now_ms())
            rules, request = ticket.parts(claims, body)
        except TicketRefused as error:
            raise NotOpened(error.text) from error
        entry.use, entry.mode = claims.use, claims.mode
        return claims, rules, request

    @contextmanager
    def _new_entry(self, payload: bytes) -> Iterator[Entry]:
        entry = Entry(began_ms=self._services.now_ms(), bytes_in=len(payload))
        try:
            yield entry
        except Refusal as refusal:
            self._write(entry, refusal.code, refusal.why)
            raise

    def _end(self, outcome: str, why: str = "") -> None:
        if self._open_exchange:
            self._write(self._open_exchange.entry, outcome, why)
        self._open_exchange = None

    def _write(self, entry: Entry, outcome: str, why: str = "") -> None:
        entry.outcome, entry.why = outcome, why
        entry.duration_ms = self._services.now_ms() - entry.began_ms
        self._services.journal.write(entry)
