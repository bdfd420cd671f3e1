"""Run a call at the first target that begins to answer. After the first event there is no other try."""

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from chalicelib.call import Call, Event, Finished, Operation, Source, Stream, Watch, unwatched
from chalicelib.clock import Clock
from chalicelib.engines import Engine, begin
from chalicelib.placement.choose import candidates
from chalicelib.placement.failure import BreakerState
from chalicelib.placement.health import Health, Visit
from chalicelib.placement.probes import Probe, probe
from chalicelib.placement.report import Report, summary
from chalicelib.pool import Capacity, Pool, Target
from chalicelib.refusal import (
    ContentRefused,
    EngineFailed,
    EngineTimedOut,
    Malformed,
    NoCapacity,
    NotOpened,
    Refusal,
    TooLarge,
)

if TYPE_CHECKING:
    from chalicelib.placement.timing import Speed

NO_TARGET = "The model has no healthy target. Try again, and tell the gateway's operator if it stays so."
RETRY_IN_MS = 1_000  # where no target said better


class PlacedCall(NamedTuple):
    """A call that runs. The holder closes `stream`, always."""

    target: Target
    stream: Stream  # what follows the first event
    first: Event


class Look(NamedTuple):
    """What places that were asked said, each by its `Target.probe_place`, and all of it in numbers."""

    said: Mapping[str, Capacity | None]  # None: it is not well
    report: Report


class TargetState(NamedTuple):
    """What is known of a target."""

    target: Target
    probe: Probe | None  # what it said of itself; None: it was not asked, since that might wake it
    breaker: BreakerState | None  # what calls met there; None: none that failed


class Placement:
    """The targets of this sandbox's pools, by their engines. Safe to use from many threads."""

    def __init__(
        self,
        engines: Mapping[str, Engine[Any]],
        health: Health,
        clock: Clock,
        *,
        patience_ms: int,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`draw` gives numbers in [0, 1), for the weights.

        After `patience_ms` no further target is tried: it might be silent for the whole idle deadline, and the lease is
        renewed only once an answer has begun. So at most a lease's time less the idle deadline.
        """
        self._engines = engines
        self._health = health
        self._clock = clock
        self._patience_ms = patience_ms
        self._draw = draw

    @property
    def kinds(self) -> Iterable[str]:
        """The kinds of target that there are engines for."""
        return self._engines.keys()

    def speaks(self, target: Target) -> Collection[Operation]:
        """See Engine.speaks."""
        return self._engines[target.engine].speaks(target)

    def place(self, pool: Pool, pin: str | None, call: Call, watch: Watch = unwatched) -> PlacedCall:
        """Try the pool's targets until one gives its first event.

        What happens to the stream afterwards reaches `health` by itself: complete, broken, or closed.

        Raises:
            Malformed, TooLarge, NotOpened, ContentRefused: a target says that the request is wrong, as others would.
            NoCapacity: no target is left; `retry_in_ms` is the earliest time at which one may be tried again.
            EngineFailed: a target took more than `patience_ms` to break.
            EngineTimedOut: likewise, or the last one that was tried did not answer in time.
        """
        began_ms = self._clock()
        full: dict[str, NoCapacity] = {}
        last: Refusal | None = None
        for target in self._candidates(pool, pin, call.model_id, call.tenant_tag, self._draw()):
            visit = self._health.enter(pool, target, call, self._clock())
            if visit is None:
                continue
            try:
                return self._begin(target, visit, call, watch)
            except NoCapacity as refusal:
                last = full[visit.place] = refusal
            except (EngineFailed, EngineTimedOut) as refusal:
                last = refusal
                if self._clock() - began_ms > self._patience_ms:
                    raise
            except NotOpened:
                if last is None:
                    raise
                raise last from None  # a target that broke had opened it already: to the next one it is a replay
        self._health.no_target(pool, last, self._clock())
        if isinstance(last, EngineTimedOut):
            raise last  # that the model is slow, and not only away, is what the caller should hear
        places = [target.place(call.model_id) for target in pool.targets if pin in (None, target.name)]
        raise self._soonest(places, call.tenant_tag, full) from last

    def consult(self, pool: Pool, pin: str | None, question: bytes) -> bytes:
        """What the enclave of the first target that reaches one tells, as JSON.

        A breaker is asked, but learns nothing: a model may be well without its enclave.

        Raises:
            NotOpened, Malformed, TooLarge: the enclave's word; another would say the same.
            NoCapacity, EngineFailed, EngineTimedOut: no target reached an enclave that told.
        """
        last: Refusal = NoCapacity("No enclave is there to ask. Try again.", retry_in_ms=1_000)
        for target in self._candidates(pool, pin, "", "", 0.0):
            try:
                return self._engines[target.engine].consult(target, question)
            except (NoCapacity, EngineFailed, EngineTimedOut) as refusal:
                last = refusal
        raise last

    def look(self, pools: Iterable[Pool]) -> Look:
        """How the targets of these pools are, each place asked once; none that a question might wake."""
        places = {target.probe_place: target for pool in pools for target in pool.targets}
        awake = {place: target for place, target in places.items() if not target.may_sleep}
        asked_ms = self._clock()
        said = {place: each.capacity for place, each in self._probe(awake, asked_ms).items()}
        return Look(said, summary(said, len(places) - len(awake), asked_ms))

    def time_answer(self, pool: Pool, request_id: str) -> "Speed | None":
        """See timing.time_answer."""
        # Not at the top: the path of a request never asks this.
        from chalicelib.placement.timing import time_answer

        return time_answer(self._engines, pool, request_id)

    def states(self, pool: Pool) -> list[TargetState]:
        """How each of the pool's targets is, for its operator; none is woken. Raises StoreUnavailable."""
        awake = {target.probe_place: target for target in pool.targets if not target.may_sleep}
        said = self._probe(awake, self._clock())
        return [
            TargetState(target, said.get(target.probe_place), self._health.state(target)) for target in pool.targets
        ]

    def _probe(self, targets: Mapping[str, Target], now_ms: int) -> dict[str, Probe]:
        """See probes.probe. Health hears of those that are not well."""
        said = probe(self._engines, targets, now_ms)
        for place, each in said.items():
            if each.capacity is None:
                self._health.probe_failed(targets[place], now_ms)
        return said

    def _candidates(self, pool: Pool, pin: str | None, model_id: str, tenant: str, draw: float) -> tuple[Target, ...]:
        now_ms = self._clock()
        return candidates(
            pool.targets,
            pin=pin,
            admits=lambda each: self._health.admits(each.place(model_id), tenant, now_ms),
            draw=draw,
        )

    def _soonest(self, places: Iterable[str], tenant: str, full: Mapping[str, NoCapacity]) -> NoCapacity:
        """When the first of these places may be tried again, in its own words where it has said so itself."""
        now_ms = self._clock()

        def wait_ms(place: str) -> int:
            # A place that is full has just answered: when its breaker lets the next call try is no longer the question.
            known = full[place].retry_in_ms if place in full else self._health.retry_in_ms(place, tenant, now_ms)
            return known or RETRY_IN_MS

        first = min(places, key=wait_ms, default=None)
        if first is None:
            return NoCapacity(NO_TARGET, retry_in_ms=RETRY_IN_MS)
        return NoCapacity(full[first].text if first in full else NO_TARGET, retry_in_ms=wait_ms(first))

    def _begin(self, target: Target, visit: Visit, call: Call, watch: Watch) -> PlacedCall:
        stream: Stream | None = None
        try:
            stream = begin(self._engines[target.engine], target, call, watch)
            events = iter(stream)
            first = next(events, None)
            if first is None:
                raise EngineFailed("The model did not answer.")
            visit = self._health.answered(visit, self._clock)
            return PlacedCall(target, _VisitStream(stream, events, visit, self._health, self._clock), first)
        except BaseException as error:
            if isinstance(error, EngineFailed | EngineTimedOut):
                self._health.failed(visit, error, self._clock())
            elif isinstance(error, Malformed | TooLarge | NotOpened | ContentRefused):
                self._health.succeeded(visit, self._clock)
            if stream is not None:
                stream.close()
            self._health.leave(visit)
            raise


class _VisitStream:
    """A stream that tells `health` how it ends."""

    def __init__(self, stream: Stream, events: Iterator[Event], visit: Visit, health: Health, clock: Clock) -> None:
        self._stream = stream
        self._events = events
        self._visit = visit
        self._health = health
        self._clock = clock
        self._closed = False

    def __iter__(self) -> Iterator[Event]:
        try:
            for event in self._events:
                if type(event) is Finished:
                    self._health.succeeded(self._visit, self._clock)
                yield event
        except (EngineFailed, EngineTimedOut) as refusal:
            if not self._closed:  # one that we cut off ourselves has not failed
                self._health.failed(self._visit, refusal, self._clock())
            raise

    @property
    def source(self) -> Source:
        """See Stream.source."""
        return self._stream.source

    def close(self) -> None:
        """See Stream.close."""
        if not self._closed:
            self._closed = True
            try:
                self._stream.close()
            finally:
                self._health.leave(self._visit)
