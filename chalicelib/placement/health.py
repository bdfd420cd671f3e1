"""What this sandbox knows of its targets: their breakers, and its open calls at each.

A place has a breaker for everybody, and one for each tenant whose calls failed there. Both must admit a call.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from chalicelib.call import Call
from chalicelib.clock import Clock
from chalicelib.placement import breaker
from chalicelib.placement.breaker import CLOSED, PROBE, Breaker, Rule
from chalicelib.placement.failure import BreakerState, Failure, Sighting, Whom, failure_of
from chalicelib.placement.watch import Watch
from chalicelib.pool import Pool, Target
from chalicelib.refusal import Refusal
from chalicelib.settings import Settings

MOST_BREAKERS = 10_000
EVERYBODY = "*"
"""Whose breaker holds back all calls; no tenant's tag."""

Key = tuple[str, str]
"""A place, and whose breaker: a tenant's by its tag, or EVERYBODY's."""


Transition = Callable[[Breaker], Breaker]


class HeldBack(NamedTuple):
    """Whose calls a target's breakers let wait, and until when; None: nobody's."""

    whom: Whom
    retry_at_ms: int | None


class Visit(msgspec.Struct, frozen=True):
    """The right to try one place once; `trials`: the half-open breakers that let this one call through."""

    place: str
    tenant: str  # by its tag
    trials: tuple[Key, ...]
    target: Target
    pool: str  # that the call is for
    model_id: str  # that it names

    @property
    def keys(self) -> tuple[Key, Key]:
        return (self.place, EVERYBODY), (self.place, self.tenant)


class Health:
    """One for each sandbox. Thread-safe. Targets are known by their place: pools that share one share its fate."""

    def __init__(self, settings: Settings, watch: Watch | None = None) -> None:
        """`watch` hears of targets that fail; None: nobody does."""
        self._watch = watch
        self._rule = Rule(settings.breaker_failures, settings.breaker_pause_ms)
        self._own_rule = msgspec.structs.replace(self._rule, witnesses=1)
        self._lock = threading.Lock()
        self._breakers: dict[Key, Breaker] = {}  # only those that are not CLOSED
        self._in_flight: Counter[str] = Counter()
        self._states: dict[str, BreakerState] = {}  # by the target's own place; of those that ever failed here

    def admits(self, place: str, tenant: str, now_ms: int) -> bool:
        """Whether a call of this tenant may try this place now."""
        return all(breaker.admits(self._breakers.get((place, whose), CLOSED), now_ms) for whose in (EVERYBODY, tenant))

    def retry_in_ms(self, place: str, tenant: str, now_ms: int) -> int | None:
        """Time until a call of this tenant may try this place; None if both its breakers are closed."""
        found = (self._breakers.get((place, whose), CLOSED).retry_at_ms for whose in (EVERYBODY, tenant))
        retry_at_ms = max((each for each in found if each is not None), default=None)
        return None if retry_at_ms is None else max(retry_at_ms - now_ms, 0)

    def in_flight(self, place: str) -> int:
        """Calls of this sandbox that are open there."""
        return self._in_flight[place]

    def enter(self, pool: Pool, target: Target, call: Call, now_ms: int) -> Visit | None:
        """Begin to try a target; None if a breaker does not admit (any more). The holder calls `leave`, always."""
        visit = Visit(target.place(call.model_id), call.tenant_tag, (), target, pool.name, call.model_id)
        with self._lock:
            if not self.admits(visit.place, visit.tenant, now_ms):
                return None
            self._in_flight[visit.place] += 1
            if not self._breakers:
                return visit
            after = {key: breaker.tried(self._breakers.get(key, CLOSED)) for key in visit.keys}
            for key, value in after.items():
                self._keep(key, value)
            return msgspec.structs.replace(visit, trials=tuple(key for key, value in after.items() if value.on_trial))

    def answered(self, visit: Visit, clock: Clock) -> Visit:
        """The first event is there. Returns the visit to go on with: its trial, if it was one, is passed."""
        if not visit.trials:
            return visit
        before, after = self._change(visit, dict.fromkeys(visit.trials, breaker.answered))
        self._tell(visit, before, after, None, clock())
        return msgspec.structs.replace(visit, trials=())

    def succeeded(self, visit: Visit, clock: Clock) -> None:
        """The answer is complete, or the target found the request itself wrong."""
        visit = self.answered(visit, clock)
        if self._breakers:
            self._change(visit, dict.fromkeys(visit.keys, breaker.succeeded))

    def failed(self, visit: Visit, refusal: Refusal, now_ms: int) -> None:
        """The target broke, before or after its first event."""
        everybodys, own = visit.keys
        if refusal.unsent:  # its tenant had no part in it
            changes: dict[Key, Transition] = {everybodys: lambda it: breaker.failed(it, now_ms, self._rule, PROBE)}
        else:
            changes = {
                everybodys: lambda it: breaker.failed(it, now_ms, self._rule, visit.tenant),
                own: lambda it: breaker.failed(it, now_ms, self._own_rule, visit.tenant),
            }
        before, after = self._change(visit, changes)
        model = "" if visit.place == visit.target.place() else visit.model_id
        self._tell(visit, before, after, failure_of(refusal, now_ms, model), now_ms)

    def probe_failed(self, target: Target, now_ms: int) -> None:
        """A target did not say that it is well."""
        key = (target.place(), EVERYBODY)
        with self._lock:
            if key in self._breakers:
                self._keep(key, breaker.confirmed(self._breakers[key], now_ms, self._rule))

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
            for key in visit.trials:
                self._keep(key, breaker.trial_over(self._breakers.get(key, CLOSED)))

    def state(self, target: Target) -> BreakerState | None:
        """As any sandbox saw it last; None where nobody saw it fail. Raises StoreUnavailable."""
        here = self._states.get(target.place())
        told = self._watch.recall(target) if self._watch is not None else None
        return max((each for each in (here, told) if each), key=lambda each: each.at_ms, default=None)

    def _change(self, visit: Visit, changes: Mapping[Key, Transition]) -> tuple[HeldBack, HeldBack]:
        """Whom the visit's breakers held back before, and whom they do now."""
        with self._lock:
            before = self._held_back(visit)
            for key, change in changes.items():
                self._keep(key, change(self._breakers.get(key, CLOSED)))
            return before, self._held_back(visit)

    def _held_back(self, visit: Visit) -> HeldBack:
        everybody, own = (self._breakers.get(key, CLOSED).retry_at_ms for key in visit.keys)
        return HeldBack("everybody", everybody) if everybody is not None else HeldBack("one_tenant", own)

    def _tell(self, visit: Visit, before: HeldBack, after: HeldBack, failure: Failure | None, now_ms: int) -> None:
        own = visit.target.place()
        with self._lock:
            last = self._states.pop(own, None)
            known = last.failure if last else None
            state = BreakerState(now_ms, after.retry_at_ms, failure or known, after.whom)
            if len(self._states) >= MOST_BREAKERS:
                del self._states[next(iter(self._states))]
            self._states[own] = state
        if self._watch is not None:
            another = after.retry_at_ms is not None and not _alike(failure, known)
            self._watch.tell(Sighting(visit.target, visit.pool, state, _differ(before, after) or another))

    def _keep(self, key: Key, value: Breaker) -> None:
        if value == CLOSED:
            self._breakers.pop(key, None)
        else:
            if key not in self._breakers and len(self._breakers) >= MOST_BREAKERS:
                del self._breakers[next(iter(self._breakers))]  # callers may name any model
            self._breakers[key] = value


def _differ(before: HeldBack, after: HeldBack) -> bool:
    """In more than until when."""
    was_open, is_open = before.retry_at_ms is not None, after.retry_at_ms is not None
    return was_open != is_open or (is_open and before.whom != after.whom)


def _alike(one: Failure | None, other: Failure | None) -> bool:
    return one is other or (
        one is not None and other is not None and (one.cause, one.symptom) == (other.cause, other.symptom)
    )
