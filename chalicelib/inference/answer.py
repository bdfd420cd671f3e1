"""The events of one admitted call, metered, closed exactly once.

Settlement hangs on `close()`, never on a generator's `finally`: a generator that is never begun never
runs it. It happens before the last event leaves: after that, Lambda may freeze us.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from chalicelib.admission import Lease, LeaseLost
from chalicelib.call import Call, Delta, Event, Finished, Pause, Source, Started, Stream, Usage, Waiting
from chalicelib.clock import Clock
from chalicelib.inference.path import Path
from chalicelib.refusal import ContentRefused, EngineFailed, EngineTimedOut, Refusal, StoreUnavailable

if TYPE_CHECKING:  # of a loop; who answers in one piece does without
    from concurrent.futures import Future

CLIENT_LEFT = "client_left"
REVOKED = "revoked"
REFUSED = ContentRefused.__name__  # by a rule of the tenant's own, and no fault of an engine

T = TypeVar("T")


class Ending(msgspec.Struct, frozen=True):
    """How a call ended: `reason` is "" where the engine finished."""

    reason: str
    usage: Usage | None  # as the engine reported it
    counted: int  # completion tokens seen on the way, for when it did not
    answered_bytes: int = 0  # of the answer, as far as it was read
    detail: Mapping[str, str] = {}  # what else the target said of the call
    waited: Waiting | None = None  # the last that its engine told while it waited
    first_ms: int | None = None  # when the first piece of the answer came


class Loop(Protocol):
    """Who takes an answer's events without a thread of its own."""

    def keeping(self, work: Callable[[], T]) -> "Future[T]":
        """Begin what keeps the answer going, in a thread for which it does not wait behind others' ends."""

    def wake(self) -> None:
        """There is a next event, though the source has nothing. From any thread."""


def reason_of(error: BaseException) -> str:
    """Why a call failed, as the ledger says it."""
    return type(error).__name__ if isinstance(error, Refusal) else "EngineFailed"


def answer_of(
    stream: Stream, first: Event, call: Call, lease: Lease, path: Path, settle: Callable[[Lease, Ending], None]
) -> "Answer":
    """The running call, which keeps its lease and ends in `settle`, called exactly once."""

    def renewed(held: Lease) -> Lease:
        now_ms = path.clock()
        try:
            return path.admission.renew(held, now_ms)
        except LeaseLost:
            raise EngineFailed("The request was given up on, because it had not been heard of for too long.") from None
        except StoreUnavailable:
            if now_ms < held.expires_ms:
                return held
            raise

    return Answer(
        lease,
        first,
        stream,
        prompt_tokens=call.prompt_tokens,
        clock=path.clock,
        renew_ms=path.settings.renew_ms,
        deadline_ms=path.settings.answer_deadline_ms,
        renew=renewed,
        settle=settle,
    )


class Answer:
    """An iterator over the events of a call; whoever holds it closes it. Safe to close from another thread.

    `settle` is called exactly once. Nothing of a polled answer waits, but what follows on ASIDE.
    """

    def __init__(
        self,
        lease: Lease,
        first: Event,
        stream: Stream,
        *,
        prompt_tokens: int,
        clock: Clock,
        renew_ms: int,
        deadline_ms: int,
        renew: Callable[[Lease], Lease],
        settle: Callable[[Lease, Ending], None],
    ) -> None:
        self.lease = lease
        self.instance = first.instance if isinstance(first, Started | Waiting) else ""
        self.queue_ms = 0  # where it still waits: as predicted
        if isinstance(first, Started | Waiting):
            self.queue_ms = first.queue_ms if isinstance(first, Started) else first.predicted_start_ms
        self.buffered = isinstance(first, Started) and first.buffered
        self._stream = stream
        self._events: Iterator[Event] = chain((first,), iter(stream))
        self._prompt_tokens = prompt_tokens
        self._clock = clock
        self._renew_ms = renew_ms
        self._ends_ms = lease.admitted_ms + deadline_ms
        self._renewed_ms = clock()
        self._renew = renew
        self._settle = settle
        self._counted = 0
        self._answered_bytes = 0
        self._detail = first.detail if isinstance(first, Started) else {}
        self._waited = first if isinstance(first, Waiting) else None
        self._first_ms: int | None = None
        self._usage: Usage | None = None
        self._loop: Loop | None = None  # where it is polled
        self._renewal: Future[Lease] | None = None  # that runs aside
        self._revoked: Refusal | None = None
        self._end: Finished | BaseException | None = None  # it waits for a thread to settle
        self._closing = Lock()
        self._closed = False

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if self._closed:
            raise StopIteration
        if self._end is not None:
            return self._ended(self._end)
        try:
            if self._revoked is not None:
                raise self._revoked
            event = next(self._events, None)
            if self._loop is None or event is Pause.LULL:  # which a loop meets whenever it has taken what had come
                self._look_at_the_clock()
            if isinstance(event, Delta):
                if self._first_ms is None:
                    self._first_ms = self._clock()
                self._counted += event.tokens
                self._answered_bytes += len(event.data)
                return event
            noted = self._noted(event)
        except BaseException as error:
            if self._closed:  # by another thread, which is why the stream broke
                raise StopIteration from None
            return self._end_in_time(error)
        return self._end_in_time(noted) if isinstance(noted, Finished) else noted

    def polled(self, loop: Loop) -> Source:
        """Let the loop take the events from now on: what it waits for."""
        self._loop = loop
        source = self._stream.source
        source.poll()
        return source

    @property
    def usage(self) -> Usage:
        """What was used so far: the engine's count once it has finished, until then ours."""
        return self._usage or Usage(self._prompt_tokens, self._counted)

    def close(self) -> None:
        """Stop the generation, if it still runs, and settle what was used so far. Idempotent."""
        self._close(CLIENT_LEFT, None)

    def fail(self, error: BaseException) -> None:
        """Close it because what the engine said is of no use: our doing, and not charged; or is refused. Idempotent."""
        if isinstance(error, Refusal):
            error.admitted = True
        usage = error.usage if isinstance(error, ContentRefused) else None
        self._close(REVOKED if error is self._revoked else reason_of(error), usage)

    def revoke(self, refusal: Refusal) -> None:
        """What allowed it does so no more: it ends by this refusal, charged what was generated. From any thread."""
        self._revoked = refusal
        if self._loop is not None:
            self._loop.wake()

    def __enter__(self) -> "Answer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.fail(error)

    def _end_in_time(self, end: Finished | BaseException) -> Event:
        """The end at once, or where only a thread may settle."""
        if self._loop is None:
            return self._ended(end)
        self._end = end
        return Pause.ASIDE

    def _ended(self, end: Finished | BaseException) -> Event:
        if isinstance(end, Finished):
            self._usage = end.usage
            self._close("", end.usage)
            return end
        self.fail(end)
        raise end

    def _noted(self, event: Event | None) -> Event:
        """One that is no piece of the answer. Raises EngineFailed where there is none."""
        if event is None:
            raise EngineFailed("The model's answer broke off. Try again.")
        if isinstance(event, Started):
            self.instance, self.queue_ms, self._detail = event.instance, event.queue_ms, event.detail
        elif isinstance(event, Waiting):
            self.queue_ms, self._waited = max(self.queue_ms, event.predicted_start_ms), event
        return event

    def _look_at_the_clock(self) -> None:
        """Renew the lease when it is time; a loop goes on meanwhile. Raises EngineTimedOut."""
        now_ms = self._clock()
        if now_ms > self._ends_ms:
            raise EngineTimedOut("The answer took longer than is allowed. Ask for fewer tokens.")
        if self._renewal is not None and self._renewal.done():
            self.lease, self._renewal = self._renewal.result(), None
        if now_ms - self._renewed_ms >= self._renew_ms and self._renewal is None:
            if self._loop is None:
                self.lease = self._renew(self.lease)
            else:
                self._renewal = self._loop.keeping(partial(self._renew, self.lease))
            self._renewed_ms = now_ms

    def _close(self, reason: str, usage: Usage | None) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
        try:
            self._stream.close()
        finally:
            ending = Ending(
                reason, usage, self._counted, self._answered_bytes, self._detail, self._waited, self._first_ms
            )
            self._settle(self.lease, ending)
