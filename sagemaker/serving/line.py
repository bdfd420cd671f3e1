"""Waiting for one's turn: the asyncio side of `queue`."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from serving.queue import FairQueue, Forecast, Limits, QueuedRequest
from serving.refusal import NoRoom, Stopping

FORECAST_EVERY_S = 0.5


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Turn:
    """One request's way through the line; exists only inside `Line.turn`."""

    def __init__(self, line: "Line", request: QueuedRequest) -> None:
        self._line = line
        self._request = request
        self._changed = asyncio.Event()
        self._start_ms: int | None = None

    @property
    def started(self) -> bool:
        return self._start_ms is not None

    @property
    def queue_ms(self) -> int:
        """How long it waited, or has waited so far."""
        return (now_ms() if self._start_ms is None else self._start_ms) - self._request.at_ms

    def begin(self, at_ms: int) -> None:
        self._start_ms = at_ms
        self._changed.set()

    def wake(self) -> None:
        self._changed.set()

    async def waiting(self, timeout_ms: int) -> AsyncIterator[Forecast]:
        """What to tell the caller until its turn comes: on every change of place, and twice a second.

        Ends when the request may run. Raises: NoRoom after `timeout_ms`, Stopping when the container is.
        """
        last: Forecast | None = None
        due = False
        while not self.started:
            if self._line.stopping:
                raise Stopping()
            forecast = self._line.forecast(self._request)
            # Not before it was told once: how a stream is refused, by status or by event, must not be a matter of luck.
            if last is not None and now_ms() - self._request.at_ms > timeout_ms:
                raise NoRoom("the request waited too long for its turn; come back later", forecast.start_in_ms)
            if due or last is None or last.position != forecast.position:
                last = forecast
                yield forecast
            due = not await self._wait_for_change()

    async def _wait_for_change(self) -> bool:
        """Whether anything changed before it was time to tell the caller again."""
        try:
            async with asyncio.timeout(
                FORECAST_EVERY_S
            ):  # not wait_for: it can swallow the cancelling of a client that left
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class Line:
    """The one line in front of all models of this container. Belongs to one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.stopping = False
        self._queue = FairQueue(limits)
        self._turns: dict[int, Turn] = {}
        self._numbers = itertools.count(1)
        self._forecasts: dict[int, Forecast] = {}

    @property
    def in_flight(self) -> int:
        return self._queue.in_flight

    @property
    def depth(self) -> int:
        return self._queue.depth

    def forecast(self, request: QueuedRequest) -> Forecast:
        # One forecast serves all who wait: it is made anew when the line moved or somebody asks a second time.
        found = self._forecasts.pop(request.number, None)
        if found is None:
            self._forecasts = self._queue.forecasts(now_ms())
            found = self._forecasts.pop(request.number)
        return found

    def stop(self) -> None:
        """Turn away whoever waits or comes; whoever runs may finish."""
        self.stopping = True
        for turn in self._turns.values():
            turn.wake()

    @contextmanager
    def turn(self, tenant: str, priority: int) -> Iterator[Turn]:
        """A place in the line, and later a slot; both are free again when the block ends, however it ends.

        Raises: NoRoom, Stopping.
        """
        if self.stopping:
            raise Stopping()
        at_ms = now_ms()
        request = QueuedRequest(next(self._numbers), tenant, priority, at_ms)
        self._queue.enter(request)
        turn = self._turns[request.number] = Turn(self, request)
        self._advance(at_ms)  # the same instant: who finds a slot free has waited for exactly nothing
        try:
            yield turn
        finally:
            del self._turns[request.number]
            at_ms = now_ms()
            self._queue.leave(request, at_ms)
            self._advance(at_ms)

    def _advance(self, at_ms: int) -> None:
        self._forecasts = {}
        for request in self._queue.start(at_ms):
            self._turns[request.number].begin(at_ms)
        for turn in self._turns.values():
            if not turn.started:
                turn.wake()
