"""How a region's targets were when they were last asked: one small document, for whoever asks how it stands.

A schedule asks and keeps; `/health` reads. So no caller of it costs a target a call, and none wakes one that sleeps.
"""

from collections.abc import Mapping
from threading import Lock, Thread
from typing import Literal

import msgspec

from chalicelib.clock import Clock
from chalicelib.documents import Changed, Document, Documents
from chalicelib.pool import Capacity
from chalicelib.refusal import StoreUnavailable

REPORTS = "~reports"
"""A partition of its own, so that who writes reports need not be let into anything else of the table."""

KNOWN_FOR_MS = 300_000  # five rounds of the schedule: who has missed them all knows nothing any more


PATIENCE_S = 0.2
"""With a store that does not answer: balancers give up on whoever takes longer to say how they are."""

GRACE_MS = 10_000
"""How long what a store said last counts where it does not answer in time: it may be slow once."""


class Report(msgspec.Struct, frozen=True):
    """Counts alone: nothing here names a tenant, a pool or a target."""

    asked_ms: int
    answering: int  # instances; two targets may be one
    failing: int  # places that did not answer
    not_asked: int  # places that a question might wake
    total: int  # capacity, over all that answer
    available: int
    queued: int


Status = Literal["healthy", "degraded", "unhealthy", "unknown"]


def standing(report: Report | None, now_ms: int) -> Status:
    """In a word. Nothing that is not known is called healthy, nor unhealthy."""
    if report is None or now_ms - report.asked_ms > KNOWN_FOR_MS:
        return "unknown"
    if report.answering:
        return "degraded" if report.failing else "healthy"
    if report.not_asked:
        return "degraded" if report.failing else "unknown"
    return "unhealthy"


def summary(said: Mapping[str, Capacity | None], not_asked: int, asked_ms: int) -> Report:
    """What the places said, each under its key, as one report."""
    # Two places may be one instance, reached in two ways; its capacity is there once.
    instances = {capacity.instance or place: capacity for place, capacity in said.items() if capacity}.values()
    return Report(
        asked_ms=asked_ms,
        answering=len(instances),
        failing=sum(capacity is None for capacity in said.values()),
        not_asked=not_asked,
        total=sum(capacity.total for capacity in instances),
        available=sum(max(0, capacity.total - capacity.in_flight) for capacity in instances),
        queued=sum(capacity.queue_depth for capacity in instances),
    )


class Reports:
    """The stored report of this region. Thread-safe."""

    def __init__(
        self, documents: Documents, region: str, clock: Clock, max_age_ms: int, *, patience_s: float = PATIENCE_S
    ) -> None:
        """What was read, or that nothing could be, holds for `max_age_ms`, however many ask.

        Who asks waits at most `patience_s` for a store that dawdles, and then has what it said before.
        """
        self._documents = documents
        self._region = region
        self._clock = clock
        self._max_age_ms = max_age_ms
        self._patience_s = patience_s
        self._lock = Lock()
        self._read_ms: int | None = None
        self._found: Report | StoreUnavailable | None = None
        self._reading: Thread | None = None

    def latest(self) -> Report | None:
        """None where nobody has asked the targets yet. Raises StoreUnavailable."""
        with self._lock:
            if self._is_older_than(self._max_age_ms) and self._reading is None:
                self._reading = Thread(target=self._read, name="report", daemon=True)
                self._reading.start()
            reading = self._reading
        if reading is not None:
            reading.join(self._patience_s)
        with self._lock:
            if self._is_older_than(GRACE_MS):
                raise StoreUnavailable("the report of the targets was not read in time")
            found = self._found
        if isinstance(found, StoreUnavailable):
            raise StoreUnavailable(str(found))
        return found

    def keep(self, report: Report) -> None:
        """Raises StoreUnavailable."""
        text = msgspec.json.encode(report).decode()
        held = self._documents.get(REPORTS, self._region)
        try:
            self._documents.put(Document(REPORTS, self._region, text, held.version if held else 0))
        except Changed:
            return  # somebody else has just asked; theirs is as good

    def _is_older_than(self, age_ms: int) -> bool:
        return self._read_ms is None or self._clock() - self._read_ms > age_ms

    def _read(self) -> None:
        """In a thread of its own."""
        found: Report | StoreUnavailable | None = StoreUnavailable("the report of the targets makes no sense")
        try:
            held = self._documents.get(REPORTS, self._region)
            found = None if held is None else msgspec.json.decode(held.text, type=Report)
        except StoreUnavailable as fault:
            found = fault
        finally:
            with self._lock:
                self._found, self._read_ms, self._reading = found, self._clock(), None
