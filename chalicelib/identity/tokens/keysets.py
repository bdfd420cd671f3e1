"""Which keys an issuer has now. Kept by each process; whoever has a token by a kept key waits for no network.

A key is kept for as long as its issuer serves it: what is kept is renewed aside once it is FRESH_MS old. A key that
nobody has heard of is looked for, for all that wait together, and at most once in SOUGHT_MS: whoever makes up names of
keys costs an issuer no more than that. An issuer that does not answer is believed for STALE_MS on what it said last.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from chalicelib.identity.tokens.discovery import Unreadable
from chalicelib.identity.tokens.keys import Key
from chalicelib.refusal import NoCapacity, Unauthenticated

log = logging.getLogger(__name__)

FRESH_MS = 300_000
SOUGHT_MS = 30_000
PAUSE_MS = 5_000  # between two tries where there are no keys at all
STALE_MS = 86_400_000
WAIT_S = 15  # for whoever is asking already; a slow issuer takes as long
MOST_ISSUERS = 1_000
MOST_MISSED = 1_000

ReadKeys = Callable[[str, Mapping[str, Key]], Mapping[str, Key]]
"""An issuer's keys by `kid`, of which those that are known stay as they are. Raises Unreadable."""

Aside = Callable[[Callable[[], None]], None]
"""Has something done soon, by another thread."""


def in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="keys", daemon=True).start()


class KeySets:
    """Of all issuers. Thread-safe."""

    def __init__(self, read: ReadKeys, aside: Aside = in_a_thread) -> None:
        self._read = read
        self._aside = aside
        self._sets: dict[str, _KeySet] = {}
        self._lock = threading.Lock()

    def key(self, issuer: str, kid: str, now_ms: int) -> Key:
        """Raises Unauthenticated where it has no such key, NoCapacity where that cannot be known."""
        held = self._sets.get(issuer) or self._begun(issuer)
        return held.key(kid, now_ms)

    def held(self, issuer: str, kid: str, now_ms: int) -> Key | None:
        """The same, where nobody need be asked."""
        held = self._sets.get(issuer)
        return None if held is None else held.held(kid, now_ms)

    def _begun(self, issuer: str) -> "_KeySet":
        with self._lock:
            if issuer not in self._sets and len(self._sets) >= MOST_ISSUERS:
                del self._sets[next(iter(self._sets))]
            return self._sets.setdefault(issuer, _KeySet(issuer, self._read, self._aside))


class _KeySet:
    """Of one issuer."""

    def __init__(self, issuer: str, read: ReadKeys, aside: Aside) -> None:
        self._issuer = issuer
        self._read = read
        self._aside = aside
        self._asking = threading.Lock()
        self._keys: Mapping[str, Key] = {}
        self._read_ms: int | None = None
        self._tried_ms: int | None = None
        self._failing = False
        self._sought_ms: int | None = None  # when it was last asked for a key that was not known
        self._missed: dict[str, None] = {}  # names of keys that it did not have then

    def held(self, kid: str, now_ms: int) -> Key | None:
        return self._keys.get(kid) if _within(STALE_MS, self._read_ms, now_ms) else None

    def key(self, kid: str, now_ms: int) -> Key:
        key = self.held(kid, now_ms)
        if key is None:
            return self._sought(kid, now_ms)
        if not _within(FRESH_MS, self._read_ms, now_ms) and not _within(SOUGHT_MS, self._tried_ms, now_ms):
            self._tried_ms = now_ms
            self._aside(lambda: self._renew(now_ms))
        return key

    def _renew(self, now_ms: int) -> None:
        if self._asking.acquire(blocking=False):
            try:
                self._ask(now_ms)
            finally:
                self._asking.release()

    def _sought(self, kid: str, now_ms: int) -> Key:
        if not self._asking.acquire(timeout=WAIT_S):
            raise _unreadable()
        try:
            key = self.held(kid, now_ms)  # somebody else may have asked meanwhile
            if key is None and self._may_be_asked(kid, now_ms):
                self._ask(now_ms)
                key = self.held(kid, now_ms)
                if key is None:
                    self._miss(kid, now_ms)
        finally:
            self._asking.release()
        if key is not None:
            return key
        raise _unreadable() if self._failing else Unauthenticated()

    def _may_be_asked(self, kid: str, now_ms: int) -> bool:
        if not _within(STALE_MS, self._read_ms, now_ms):
            return not _within(PAUSE_MS, self._tried_ms, now_ms)
        return kid not in self._missed and not _within(SOUGHT_MS, self._sought_ms, now_ms)

    def _ask(self, now_ms: int) -> None:
        self._tried_ms = now_ms
        try:
            self._keys = self._read(self._issuer, self._keys)
        except Unreadable as error:
            self._failing = True
            log.warning("The keys of the issuer %s cannot be read: %s", self._issuer, error)
        else:
            self._failing = False
            self._read_ms = now_ms
            self._missed.clear()

    def _miss(self, kid: str, now_ms: int) -> None:
        self._sought_ms = now_ms
        if not self._failing and len(self._missed) < MOST_MISSED:
            self._missed[kid] = None


def _within(span_ms: int, since_ms: int | None, now_ms: int) -> bool:
    return since_ms is not None and now_ms - since_ms < span_ms


def _unreadable() -> NoCapacity:
    return NoCapacity("The keys of the token's issuer cannot be read. Try again shortly.", retry_in_ms=PAUSE_MS)
