"""Issuing tickets, with a key that is read when the first one is needed, and again from time to time."""

import hashlib
import threading
from collections.abc import Callable

import msgspec

from chalicelib.clock import Clock
from chalicelib.refusal import NoCapacity
from chalicelib.tickets.ticket import Claims, Signer

RUN_MS = 120_000
"""How long a ticket to run a request may wait for its turn at the instance."""

ASK_MS = 60_000

REREAD_MS = 300_000
"""A key that was replaced is used everywhere after this long; enclaves take the old and the new one meanwhile."""


class Unreadable(Exception):
    """The key cannot be had: none is set up, or the store of secrets does not answer. The text is for operators."""


class Tickets:
    """One for each sandbox. Thread-safe."""

    def __init__(self, read_key: Callable[[], bytes], clock: Clock) -> None:
        """`read_key` gives the raw Ed25519 private key, or raises Unreadable; it is called when a ticket is needed."""
        self._read_key = read_key
        self._clock = clock
        self._lock = threading.Lock()
        self._signer: Signer | None = None
        self._read_ms = 0

    def issue(self, claims: Claims, body: bytes) -> bytes:
        """The ticket for doing with `body`, and nothing else, what the claims say, from now on for a short time.

        Raises NoCapacity where no key is set up.
        """
        lifetime_ms = RUN_MS if claims.use == "run" else ASK_MS
        bound = msgspec.structs.replace(
            claims, body_sha256=hashlib.sha256(body).hexdigest(), expires_ms=self._clock() + lifetime_ms
        )
        return self._current().ticket(bound)

    def permit(self, claims: Claims, body: bytes, rules: bytes = b"") -> bytes:
        """`body` behind its ticket, as containers and enclaves take them: u16 length of the ticket, ticket, body.

        `rules`: what it is judged by where it is opened; they stand ahead of it: u32 length, rules. Raises NoCapacity
        where no key is set up.
        """
        if not rules:
            ticket = self.issue(claims, body)
            return len(ticket).to_bytes(2, "big") + ticket + body
        named = msgspec.structs.replace(claims, rules_sha256=hashlib.sha256(rules).hexdigest())
        ticket = self.issue(named, body)
        return len(ticket).to_bytes(2, "big") + ticket + len(rules).to_bytes(4, "big") + rules + body

    def _current(self) -> Signer:
        now_ms = self._clock()
        signer = self._signer
        if signer is not None and now_ms - self._read_ms < REREAD_MS:
            return signer
        with self._lock:  # those who come meanwhile wait for this reading
            if self._signer is None or now_ms - self._read_ms >= REREAD_MS:
                self._signer, self._read_ms = self._read(), now_ms
            return self._signer

    def _read(self) -> Signer:
        try:
            return Signer(self._read_key())
        except Unreadable as unreadable:
            # Better an old key than none: the enclaves know it for as long as their image does.
            if self._signer is None:
                raise NoCapacity("Sealed inference is not set up here.") from unreadable
            return self._signer
