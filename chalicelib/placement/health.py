"""What this sandbox knows of its targets: their breakers, and its open calls at each."""

import threading
from collections import Counter
from collections.abc import Callable

import msgspec

from chalicelib.placement import breaker
from chalicelib.placement.breaker import CLOSED, Breaker, Rule
from chalicelib.settings import Settings

MOST_BREAKERS = 10_000


class Visit(msgspec.Struct, frozen=True):
    """The right to try one place once; `trial` if it is the one call that a half-open breaker lets through."""

    place: str
    trial: bool


class Health:
    """One for each sandbox. Thread-safe. Targets are known by their place: pools that share one share its fate."""

    def __init__(self, settings: Settings) -> None:
        self._rule = Rule(settings.breaker_failures, settings.breaker_pause_ms)
        self._lock = threading.Lock()
        self._breakers: dict[str, Breaker] = {}  # only those that are not CLOSED
        self._in_flight: Counter[str] = Counter()

    def admits(self, place: str, now_ms: int) -> bool:
        """Whether a call may try this place now."""
        return breaker.admits(self._breakers.get(place, CLOSED), now_ms)

    def retry_in_ms(self, place: str, now_ms: int) -> int | None:
        """Time until a call may try this place; None if its breaker is closed."""
        retry_at_ms = self._breakers.get(place, CLOSED).retry_at_ms
        return None if retry_at_ms is None else max(retry_at_ms - now_ms, 0)

    def in_flight(self, place: str) -> int:
        """Calls of this sandbox that are open there."""
        return self._in_flight[place]

    def enter(self, place: str, now_ms: int) -> Visit | None:
        """Begin to try a place; None if its breaker does not admit (any more). The holder calls `leave`, always."""
        with self._lock:
            before = self._breakers.get(place, CLOSED)
            if not breaker.admits(before, now_ms):
                return None
            after = breaker.tried(before)
            self._keep(place, after)
            self._in_flight[place] += 1
            return Visit(place, trial=after.on_trial)

    def answered(self, visit: Visit) -> Visit:
        """The first event is there. Returns the visit to go on with: its trial, if it was one, is passed."""
        if not visit.trial:
            return visit
        self._change(visit, breaker.answered)
        return Visit(visit.place, trial=False)

    def succeeded(self, visit: Visit) -> None:
        """The answer is complete, or the target found the request itself wrong."""
        self._change(self.answered(visit), breaker.succeeded)

    def failed(self, visit: Visit, now_ms: int) -> None:
        """The target broke, before or after its first event."""
        self._change(visit, lambda before: breaker.failed(before, now_ms, self._rule))

    def leave(self, visit: Visit) -> None:
        """The visit is over; without a report before, it says nothing of the target."""
        place = visit.place
        with self._lock:
            self._in_flight[place] -= 1
            if not self._in_flight[place]:
                del self._in_flight[place]
            if visit.trial:
                self._keep(place, breaker.trial_over(self._breakers.get(place, CLOSED)))

    def _change(self, visit: Visit, transition: Callable[[Breaker], Breaker]) -> None:
        with self._lock:
            self._keep(visit.place, transition(self._breakers.get(visit.place, CLOSED)))

    def _keep(self, place: str, value: Breaker) -> None:
        if value == CLOSED:
            self._breakers.pop(place, None)
        else:
            if place not in self._breakers and len(self._breakers) >= MOST_BREAKERS:
                del self._breakers[next(iter(self._breakers))]  # callers may name any model
            self._breakers[place] = value
