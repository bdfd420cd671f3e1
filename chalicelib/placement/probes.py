"""Asking targets how they are: all at once, in bounded time, and not again for every caller of /health."""

import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from chalicelib.engines import Engine
from chalicelib.pool import Capacity, Target
from chalicelib.refusal import Refusal

DEADLINE_S = 1.5  # engines bound their probe to a second; this is for what they cannot bound, like name resolution


class _Said(NamedTuple):
    at_ms: int
    capacity: Capacity | None


class Probes:
    """The last thing each place said. Thread-safe."""

    def __init__(self, engines: Mapping[str, Engine[Any]], max_age_ms: int) -> None:
        self._engines = engines
        self._max_age_ms = max_age_ms
        self._said: dict[str, _Said] = {}
        self._lock = threading.Lock()

    def look(self, targets: Mapping[str, Target], now_ms: int) -> dict[str, Capacity | None]:
        """See Health.look."""
        with self._lock:  # those who ask meanwhile wait for this answer instead of asking again
            stale = {
                key: target
                for key, target in targets.items()
                if key not in self._said or now_ms - self._said[key].at_ms > self._max_age_ms
            }
            if stale:
                answers = self._ask(stale)
                self._said.update({key: _Said(now_ms, answers.get(key)) for key in stale})
            return {key: self._said[key].capacity for key in targets}

    def _ask(self, targets: Mapping[str, Target]) -> dict[str, Capacity]:
        answers: dict[str, Capacity] = {}

        def ask(key: str, target: Target) -> None:
            try:
                answers[key] = self._engines[target.engine].probe(target)
            except (Refusal, KeyError):  # it is not well, or this sandbox has no engine for it
                return

        threads = [threading.Thread(target=ask, args=item, daemon=True) for item in targets.items()]
        for thread in threads:
            thread.start()
        until = time.monotonic() + DEADLINE_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return dict(answers)
