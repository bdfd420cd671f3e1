"""Attempts in memory. For tests, and to try things out."""

import threading

from chalicelib.passwords.attempts import Counter


class MemoryAttempts:
    """Implements Attempts."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        self._lock = threading.Lock()

    def holds(self, counter: Counter) -> bool:
        return counter.name in self._taken

    def take(self, counter: Counter) -> int:
        with self._lock:
            taken = self._taken.get(counter.name, 0)
            if taken >= counter.most:
                return 0
            self._taken[counter.name] = taken + 1
            return taken + 1
