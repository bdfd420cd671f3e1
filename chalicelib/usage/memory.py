"""Roll-ups in memory, one lock. For tests, and to try things out."""

import threading
from collections.abc import Iterator

from chalicelib.usage.rollup import Part
from chalicelib.usage.rollups import Mark
from chalicelib.usage.times import Span


class MemoryRollups:
    """Implements Rollups."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, Span, int, int], Part] = {}
        self._mark = Mark()
        self._lock = threading.Lock()

    def put(self, part: Part) -> None:
        place = (part.tenant, part.span, part.start_ms, part.number)
        with self._lock:
            there = self._parts.get(place)
            if there is None or there.requests <= part.requests:
                self._parts[place] = part

    def last(self, tenant: str, span: Span) -> Part | None:
        found = self._sorted(tenant, span)
        return found[-1] if found else None

    def read(self, tenant: str, span: Span, since_ms: int, until_ms: int) -> Iterator[Part]:
        return (part for part in self._sorted(tenant, span) if since_ms <= part.start_ms < until_ms)

    def mark(self) -> Mark:
        return self._mark

    def put_mark(self, mark: Mark) -> None:
        self._mark = mark

    def _sorted(self, tenant: str, span: Span) -> list[Part]:
        with self._lock:
            return [part for place, part in sorted(self._parts.items()) if place[:2] == (tenant, span)]
