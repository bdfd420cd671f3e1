"""Asking targets how they are: all at once, in bounded time, and not again for every caller of /health."""

import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from chalicelib.engines import Engine
from chalicelib.placement.failure import Failure, failure_of
from chalicelib.pool import Capacity, Target
from chalicelib.refusal import Refusal

DEADLINE_S = 1.5  # engines bound their probe to a second; this is for what they cannot bound, like name resolution

SILENT = "The target did not answer in time."
NO_ENGINE = "The gateway has no engine for targets of this kind."


class Probe(NamedTuple):
    """How a place answered."""

    at_ms: int
    capacity: Capacity | None  # None: it is not well
    latency_ms: int | None = None  # until it said so; None: it did not
    failure: Failure | None = None


class Probes:
    """The last thing each place said. Thread-safe."""

    def __init__(self, engines: Mapping[str, Engine[Any]], max_age_ms: int) -> None:
        self._engines = engines
        self._max_age_ms = max_age_ms
        self._said: dict[str, Probe] = {}
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
                answers = self._ask(stale, now_ms)
                silent = Probe(now_ms, None, failure=Failure(now_ms, SILENT))
                self._said.update({key: answers.get(key, silent) for key in stale})
            return {key: self._said[key].capacity for key in targets}

    def last(self, key: str) -> Probe | None:
        """What it said when it was asked last."""
        return self._said.get(key)

    def _ask(self, targets: Mapping[str, Target], now_ms: int) -> dict[str, Probe]:
        answers: dict[str, Probe] = {}

        def ask(key: str, target: Target) -> None:
            began = time.monotonic()
            capacity, failure = None, None
            try:
                capacity = self._engines[target.engine].probe(target)
            except KeyError:
                failure = Failure(now_ms, NO_ENGINE)
            except Refusal as refusal:
                failure = failure_of(refusal, now_ms)
            answers[key] = Probe(now_ms, capacity, round((time.monotonic() - began) * 1_000), failure)

        threads = [threading.Thread(target=ask, args=item, daemon=True) for item in targets.items()]
        for thread in threads:
            thread.start()
        until = time.monotonic() + DEADLINE_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return dict(answers)
