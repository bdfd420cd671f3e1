"""What this sandbox knows of its targets: their breakers, and its open calls at each."""

import threading
from collections import Counter
from collections.abc import Callable

import msgspec

from chalicelib.clock import Clock
from chalicelib.placement import breaker
from chalicelib.placement.breaker import CLOSED, Breaker, Rule
from chalicelib.placement.failure import BreakerState, Failure, Sighting, failure_of
from chalicelib.placement.watch import Watch
from chalicelib.pool import Pool, Target
from chalicelib.refusal import Refusal
from chalicelib.settings import Settings

MOST_BREAKERS = 10_000


class Visit(msgspec.Struct, frozen=True):
    """The right to try one place once; `trial` if it is the one call that a half-open breaker lets through."""

    place: str
    trial: bool
    target: Target
    pool: str  # that the call is for
    model_id: str  # that it names


class Health:
    """One for each sandbox. Thread-safe. Targets are known by their place: pools that share one share its fate."""

    def __init__(self, settings: Settings, watch: Watch | None = None) -> None:
        """`watch` hears of targets that fail; None: nobody does."""
        self._watch = watch
        self._rule = Rule(settings.breaker_failures, settings.breaker_pause_ms)
        self._lock = threading.Lock()
        self._breakers: dict[str, Breaker] = {}  # only those that are not CLOSED
        self._in_flight: Counter[str] = Counter()
        self._states: dict[str, BreakerState] = {}  # by the target's own place; of those that ever failed here

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

    def enter(self, pool: Pool, target: Target, model_id: str, now_ms: int) -> Visit | None:
        """Begin to try a target; None if its breaker does not admit (any more). The holder calls `leave`, always."""
        place = target.place(model_id)
        with self._lock:
            before = self._breakers.get(place, CLOSED)
            if not breaker.admits(before, now_ms):
                return None
            after = breaker.tried(before)
            self._keep(place, after)
            self._in_flight[place] += 1
            return Visit(place, after.on_trial, target, pool.name, model_id)

    def answered(self, visit: Visit, clock: Clock) -> Visit:
        """The first event is there. Returns the visit to go on with: its trial, if it was one, is passed."""
        if not visit.trial:
            return visit
        before, after = self._change(visit, breaker.answered)
        self._tell(visit, before, after, None, clock())
        return msgspec.structs.replace(visit, trial=False)

    def succeeded(self, visit: Visit, clock: Clock) -> None:
        """The answer is complete, or the target found the request itself wrong."""
        self._change(self.answered(visit, clock), breaker.succeeded)

    def failed(self, visit: Visit, refusal: Refusal, now_ms: int) -> None:
        """The target broke, before or after its first event."""
        before, after = self._change(visit, lambda before: breaker.failed(before, now_ms, self._rule))
        model = "" if visit.place == visit.target.place() else visit.model_id
        self._tell(visit, before, after, failure_of(refusal, now_ms, model), now_ms)

    def no_target(self, pool: Pool, last: Refusal | None, now_ms: int) -> None:
        """None of the pool's targets ran a call."""
        if self._watch is not None:
            self._watch.tell_no_target(pool.name, failure_of(last, now_ms) if last else None, now_ms)

    def leave(self, visit: Visit) -> None:
        """The visit is over; without a report before, it says nothing of the target."""
        place = visit.place
        with self._lock:
            self._in_flight[place] -= 1
            if not self._in_flight[place]:
                del self._in_flight[place]
            if visit.trial:
                self._keep(place, breaker.trial_over(self._breakers.get(place, CLOSED)))

    def state(self, target: Target) -> BreakerState | None:
        """As any sandbox saw it last; None where nobody saw it fail. Raises StoreUnavailable."""
        here = self._states.get(target.place())
        told = self._watch.recall(target) if self._watch is not None else None
        return max((each for each in (here, told) if each), key=lambda each: each.at_ms, default=None)

    def _change(self, visit: Visit, transition: Callable[[Breaker], Breaker]) -> tuple[Breaker, Breaker]:
        with self._lock:
            before = self._breakers.get(visit.place, CLOSED)
            after = transition(before)
            self._keep(visit.place, after)
            return before, after

    def _tell(self, visit: Visit, before: Breaker, after: Breaker, failure: Failure | None, now_ms: int) -> None:
        own = visit.target.place()
        with self._lock:
            last = self._states.pop(own, None)
            known = last.failure if last else None
            state = BreakerState(now_ms, after.retry_at_ms, failure or known)
            if len(self._states) >= MOST_BREAKERS:
                del self._states[next(iter(self._states))]
            self._states[own] = state
        if self._watch is not None:
            was_open, is_open = before.retry_at_ms is not None, after.retry_at_ms is not None
            another = is_open and not _alike(failure, known)
            self._watch.tell(Sighting(visit.target, visit.pool, state, was_open != is_open or another))

    def _keep(self, place: str, value: Breaker) -> None:
        if value == CLOSED:
            self._breakers.pop(place, None)
        else:
            if place not in self._breakers and len(self._breakers) >= MOST_BREAKERS:
                del self._breakers[next(iter(self._breakers))]  # callers may name any model
            self._breakers[place] = value


def _alike(one: Failure | None, other: Failure | None) -> bool:
    return one is other or (
        one is not None and other is not None and (one.cause, one.symptom) == (other.cause, other.symptom)
    )
