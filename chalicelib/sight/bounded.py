"""Around any telemetry, or several: a sink that fails changes no answer; a flood of refusals is few lines."""

from collections.abc import Callable
from contextlib import suppress
from threading import Lock

import msgspec

from chalicelib.sight.telemetry import RequestFacts, Telemetry

PER_S = 10
"""Refusals that are told in a second, each with a line of its own, after BURST of them."""
BURST = 100


class Bounded:
    """Telemetry that never raises. Of refusals that come too fast, the next line alike counts those before it."""

    def __init__(self, *behind: Telemetry) -> None:
        self._behind = behind
        self._left = float(BURST)
        self._filled_ms = 0
        self._held: dict[tuple[str, str, str], int] = {}  # by reason, route and pool, which are closed sets
        self._lock = Lock()

    def request(self, facts: RequestFacts) -> None:
        if facts.event != "Refused":
            self._request(facts)
        elif (told := self._next(facts)) is not None:
            self._request(told)

    def count(self, metric: str, now_ms: int, **facts: str | int) -> None:
        self._tell(lambda sink: sink.count(metric, now_ms, **facts))

    def fault(self, error: BaseException, now_ms: int, **facts: str | int) -> None:
        self._tell(lambda sink: sink.fault(error, now_ms, **facts))

    def flush(self) -> None:
        with self._lock:
            held, self._held = self._held, {}
        for (reason, route, pool), count in held.items():
            at_ms = self._filled_ms
            facts = RequestFacts("Refused", "", "", route, at_ms, at_ms, reason=reason, pool=pool, count=count)
            self._request(facts)
        self._tell(lambda sink: sink.flush())

    def _request(self, facts: RequestFacts) -> None:
        self._tell(lambda sink: sink.request(facts))

    def _tell(self, tell: Callable[[Telemetry], None]) -> None:
        for sink in self._behind:
            with suppress(Exception):  # whichever: nobody could be told of it, and whoever is answered must not be
                tell(sink)

    def _next(self, facts: RequestFacts) -> RequestFacts | None:
        """What is told in its place; None: nothing yet."""
        alike = (facts.reason, facts.route, facts.pool)
        with self._lock:
            passed_ms = max(facts.ended_ms - self._filled_ms, 0)
            self._left = min(BURST, self._left + passed_ms * PER_S / 1_000)
            self._filled_ms = max(facts.ended_ms, self._filled_ms)
            if self._left < 1:
                self._held[alike] = self._held.get(alike, 0) + facts.count
                return None
            self._left -= 1
            held = self._held.pop(alike, 0)
        return msgspec.structs.replace(facts, count=facts.count + held) if held else facts
