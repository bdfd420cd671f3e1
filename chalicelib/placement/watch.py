"""What operators hear of targets that fail: lines in the log, and each one's breaker, kept for every sandbox to read.

On AWS the sandbox that is asked by an operator runs no models, so what it knows of its own is nothing. It is sight, and
fails open: a store that fails keeps nothing, and no call waits for it.
"""

import contextlib
import hashlib
import threading
from typing import Protocol

import msgspec

from chalicelib.documents import PLATFORM, Changed, Document, Documents
from chalicelib.placement.failure import BreakerState, Failure, Sighting
from chalicelib.pool import Target
from chalicelib.refusal import StoreUnavailable
from chalicelib.sight import Telemetry

SAME_AGAIN_MS = 10_000  # what has been said of a target or a pool is not said again before that
MOST_PLACES = 1_000


class Watch(Protocol):
    """Safe to use from many threads."""

    def tell(self, sighting: Sighting) -> None:
        """Of a target."""

    def tell_no_target(self, pool: str, last: Failure | None, now_ms: int) -> None:
        """Of a pool, none of whose targets ran a call. `last`: what the last one that was tried said, if any was."""

    def recall(self, target: Target) -> BreakerState | None:
        """What any sandbox told of the target last. Raises StoreUnavailable."""


class StoredWatch:
    """In the log, and as a document for each target."""

    def __init__(self, documents: Documents, telemetry: Telemetry) -> None:
        self._documents = documents
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._told_ms: dict[str, int] = {}  # by place or pool
        self._unwritten: dict[str, BreakerState] = {}
        self._writing = False

    def tell(self, sighting: Sighting) -> None:
        """See Watch.tell."""
        state, name = sighting.state, _name(sighting.target)
        lately = self._told_lately(name, state.at_ms)
        if sighting.change:
            self._log(sighting)
        elif lately:
            return
        with self._lock:
            self._unwritten[name] = state
            if self._writing:
                return
            self._writing = True
        try:
            # The call goes on meanwhile: to the next target, or to its caller.
            threading.Thread(target=self._write, daemon=True).start()
        except RuntimeError:  # no thread can be had
            self._writing = False

    def tell_no_target(self, pool: str, last: Failure | None, now_ms: int) -> None:
        """See Watch.tell_no_target."""
        if self._told_lately(f"no-target#{pool}", now_ms):
            return
        why = {"cause": last.cause, "symptom": last.symptom} if last else {"cause": "No target may be tried."}
        self._telemetry.count("NoTarget", now_ms, pool=pool, **why)

    def recall(self, target: Target) -> BreakerState | None:
        """See Watch.recall."""
        held = self._documents.get(PLATFORM, _name(target))
        return msgspec.json.decode(held.text, type=BreakerState) if held else None

    def _log(self, sighting: Sighting) -> None:
        failure, opened = sighting.state.failure, sighting.state.retry_at_ms is not None
        why = {"cause": failure.cause, "symptom": failure.symptom, "model": failure.model} if failure else {}
        self._telemetry.count(
            "BreakerOpened" if opened else "BreakerClosed",
            sighting.state.at_ms,
            target=sighting.target.name,
            engine=sighting.target.engine,
            pool=sighting.pool,
            **(why | {"held_back": sighting.state.whom} if opened else {}),
        )

    def _told_lately(self, name: str, now_ms: int) -> bool:
        """Whether it was told; from now on it was."""
        with self._lock:
            before_ms = self._told_ms.get(name)
            if before_ms is not None and now_ms - before_ms < SAME_AGAIN_MS:
                return True
            if before_ms is None and len(self._told_ms) >= MOST_PLACES:
                del self._told_ms[next(iter(self._told_ms))]
            self._told_ms[name] = now_ms
            return False

    def _write(self) -> None:
        try:
            while True:
                with self._lock:
                    if not self._unwritten:
                        self._writing = False
                        return
                    name, state = self._unwritten.popitem()
                # A race is lost to another sandbox, which has seen the same.
                with contextlib.suppress(StoreUnavailable, Changed):
                    self._keep(name, state)
        except BaseException:
            self._writing = False
            raise

    def _keep(self, name: str, state: BreakerState) -> None:
        held = self._documents.get(PLATFORM, name)
        if held is None or msgspec.json.decode(held.text, type=BreakerState).at_ms <= state.at_ms:
            text = msgspec.json.encode(state).decode()
            self._documents.put(Document(PLATFORM, name, text, held.version if held else 0))


def _name(target: Target) -> str:
    # A digest, because a place is as long as a URL may be, and none of the table's business.
    return f"breaker#{hashlib.sha256(target.place().encode()).hexdigest()[:32]}"
