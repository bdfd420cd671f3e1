"""Run a call at the first target that begins to answer. After the first event there is no other try."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from chalicelib.call import Call, Event, Finished, Stream
from chalicelib.clock import Clock
from chalicelib.engines import Engine
from chalicelib.placement.choose import candidates
from chalicelib.placement.health import Health, Visit
from chalicelib.pool import Pool, Target
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, NotOpened, Refusal, TooLarge

NO_TARGET = "no healthy target"
RETRY_IN_MS = 1_000  # where no target said better
# After this long no further target is tried: it might be silent for the whole idle deadline, and the lease
# is renewed only once an answer has begun. So at most `lease_ms` less `idle_deadline_ms`.
PATIENCE_MS = 30_000


class Placed(NamedTuple):
    """A call that runs. The holder closes `stream`, always."""

    target: Target
    stream: Stream  # what follows the first event
    first: Event


def place(
    pool: Pool,
    pin: str | None,
    call: Call,
    engines: Mapping[str, Engine],
    health: Health,
    clock: Clock,
    draw: Callable[[], float] = random.random,
    patience_ms: int = PATIENCE_MS,
) -> Placed:
    """Try the pool's targets until one gives its first event. `draw` gives numbers in [0, 1), for the weights.

    What happens to the stream afterwards reaches `health` by itself: complete, broken, or closed.

    Raises:
        Malformed, TooLarge, NotOpened: a target says that the request is wrong; the others would too.
        NoCapacity: no target is left; `retry_in_ms` is the earliest time at which one may be tried again.
        EngineFailed: a target took more than `patience_ms` to break.
        EngineTimedOut: likewise, or the last one that was tried did not answer in time.
    """
    began_ms = now_ms = clock()
    waits_ms: list[int] = []
    last: Refusal | None = None
    targets = tuple(_located(target, call) for target in pool.targets)
    for target in candidates(targets, pin=pin, admits=lambda each: health.admits(each, now_ms), draw=draw()):
        visit = health.enter(target, clock())
        if visit is None:
            continue
        try:
            return _begin(visit, call, engines, health, clock)
        except NoCapacity as refusal:
            last = refusal
            if refusal.retry_in_ms is not None:
                waits_ms.append(refusal.retry_in_ms)
        except (EngineFailed, EngineTimedOut) as refusal:
            last = refusal
            if clock() - began_ms > patience_ms:
                raise
        except NotOpened:
            if last is None:
                raise
            raise last from None  # a target that broke had opened it already: to the next one it is a replay
    if isinstance(last, EngineTimedOut):
        raise last  # that the model is slow, and not only away, is what the caller should hear
    now_ms = clock()
    for target in targets:
        if pin in (None, target.name):
            wait_ms = health.retry_in_ms(target, now_ms)
            if wait_ms is not None:
                waits_ms.append(wait_ms)
    raise NoCapacity(NO_TARGET, retry_in_ms=min(waits_ms, default=RETRY_IN_MS) or RETRY_IN_MS) from last


def _located(target: Target, call: Call) -> Target:
    """The target as a place: where the call names the model, that is part of it."""
    if target.engine != "bedrock" or target.model or not call.model_id:
        return target
    return msgspec.structs.replace(target, target_model=call.model_id)


def _begin(visit: Visit, call: Call, engines: Mapping[str, Engine], health: Health, clock: Clock) -> Placed:
    stream: Stream | None = None
    try:
        stream = engines[visit.target.engine].open(visit.target, call)
        events = iter(stream)
        first = next(events, None)
        if first is None:
            raise EngineFailed("The model did not answer.")
        visit = health.answered(visit)
        return Placed(visit.target, _Visiting(stream, events, visit, health, clock), first)
    except BaseException as error:
        if isinstance(error, EngineFailed | EngineTimedOut):
            health.failed(visit, clock())
        elif isinstance(error, Malformed | TooLarge | NotOpened):
            health.succeeded(visit)
        if stream is not None:
            stream.close()
        health.leave(visit)
        raise


class _Visiting:
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
                    self._health.succeeded(self._visit)
                yield event
        except (EngineFailed, EngineTimedOut):
            if not self._closed:  # one that we cut off ourselves has not failed
                self._health.failed(self._visit, self._clock())
            raise

    def close(self) -> None:
        """See Stream.close."""
        if not self._closed:
            self._closed = True
            try:
                self._stream.close()
            finally:
                self._health.leave(self._visit)
