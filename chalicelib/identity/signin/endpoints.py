"""Where the operator's issuer has what browsers and codes need, as it says itself (OpenID Connect Discovery).

Anybody may begin to sign in: so it is asked once in a while for all of them, and while it does not answer, what it said
last is believed for a day.
"""

import threading

import msgspec

from chalicelib.egress import Egress, NotCallable
from chalicelib.http1.failure import Failed
from chalicelib.identity.tokens.discovery import MOST_BYTES, WELL_KNOWN
from chalicelib.refusal import NoCapacity

FRESH_MS = 300_000
PAUSE_MS = 5_000  # after a try that failed
STALE_MS = 86_400_000


class Endpoints(msgspec.Struct, frozen=True):
    """Of an issuer: URLs."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    end_session_endpoint: str = ""

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.authorization_endpoint, self.token_endpoint, self.end_session_endpoint)))


class KnownEndpoints:
    """Those of one issuer. Thread-safe."""

    def __init__(self, issuer: str, egress: Egress) -> None:
        self._issuer = issuer
        self._egress = egress
        self._lock = threading.Lock()
        self._known: Endpoints | None = None
        self._read_ms = self._tried_ms = -STALE_MS

    def __call__(self, now_ms: int) -> Endpoints:
        """Raises NoCapacity where it does not say, and has not for long."""
        if self._known is None or now_ms >= self._read_ms + FRESH_MS:
            self._renew(now_ms)
        if self._known is None or now_ms >= self._read_ms + STALE_MS:
            raise NoCapacity("The identity provider does not answer. Try again shortly.", retry_in_ms=PAUSE_MS)
        return self._known

    def _renew(self, now_ms: int) -> None:
        """By one of those who wait; whoever need not wait does not."""
        if not self._lock.acquire(blocking=self._known is None):
            return
        try:
            if now_ms < max(self._read_ms + FRESH_MS, self._tried_ms + PAUSE_MS):
                return
            self._tried_ms = now_ms
            if (read := self._read()) is not None:
                self._known, self._read_ms = read, now_ms
        finally:
            self._lock.release()

    def _read(self) -> Endpoints | None:
        try:
            fetched = self._egress.get(self._issuer.rstrip("/") + WELL_KNOWN, limit_bytes=MOST_BYTES)
            found = msgspec.json.decode(fetched.body, type=Endpoints) if fetched.status == 200 else None
            for url in found.urls if found else ():
                self._egress.must_be_callable(url)
        except (NotCallable, Failed, msgspec.MsgspecError):
            return None
        return found if found is not None and found.issuer == self._issuer else None
