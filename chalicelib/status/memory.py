"""Days of samples in memory: the twin of the store, for tests and for trying things out."""

from collections.abc import Mapping
from threading import Lock

from chalicelib.status.samples import Day, Overtaken


class MemoryDays:
    """Implements Days."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Day, int]] = {}
        self._lock = Lock()

    def get(self, day: str) -> tuple[Day, int]:
        return self._held.get(day, (Day(), 0))

    def put(self, day: str, changed: Day, version: int) -> None:
        with self._lock:
            if self.get(day)[1] != version:
                raise Overtaken
            self._held[day] = changed, version + 1

    def between(self, first: str, last: str) -> Mapping[str, Day]:
        return {day: held for day, (held, _) in sorted(self._held.items()) if first <= day <= last}
