"""Waiting for one's turn: the asyncio side of `queue`."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from serving.queue import FairQueue, Forecast, Limits, Ticket
from serving.refusal import NoRoom, Stopping

TELL_EVERY_S = 0.5


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Turn:
    """One request's way through the line; exists only inside `Turnstile.turn`."""

    def __init__(self, turnstile: "Turnstile", ticket: Ticket) -> None:
        self._turnstile = turnstile
        self._ticket = ticket
        self._news = asyncio.Event()
        self._begun_ms: int | None = None

    @property
    def started(self) -> bool:
        return self._begun_ms is not None

    @property
    def queue_ms(self) -> int:
        """How long it waited, or has waited so far."""
        return (now_ms() if self._begun_ms is None else self._begun_ms) - self._ticket.at_ms

    def begin(self, at_ms: int) -> None:
        self._begun_ms = at_ms
        self._news.set()

    def tell(self) -> None:
        self._news.set()

    async def waiting(self, timeout_ms: int) -> AsyncIterator[Forecast]:
        """What to tell the caller until its turn comes: on every change of place, and twice a second.

        Ends when the request may run. Raises: NoRoom after `timeout_ms`, Stopping when the container is.
        """
        told: Forecast | None = None
        due = False
        while not self.started:
            if self._turnstile.stopping:
                raise Stopping()
            forecast = self._turnstile.forecast(self._ticket)
            # Not before it was told once: how a stream is refused, by status or by event, must not be a matter of luck.
            if told is not None and now_ms() - self._ticket.at_ms > timeout_ms:
                raise NoRoom("the request waited too long for its turn; come back later", forecast.start_in_ms)
            if due or told is None or told.position != forecast.position:
                told = forecast
                yield forecast
            due = not await self._woken()

    async def _woken(self) -> bool:
        """Whether anything changed before it was time to tell the caller again."""
        try:
            async with asyncio.timeout(
                TELL_EVERY_S
            ):  # not wait_for: it can swallow the cancelling of a client that left
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


class Turnstile:
    """The one line in front of all models of this container. Belongs to one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.stopping = False
        self._queue = FairQueue(limits)
        self._turns: dict[int, Turn] = {}
        self._numbers = itertools.count(1)
        self._outlook: dict[int, Forecast] = {}

    @property
    def in_flight(self) -> int:
        return self._queue.in_flight

    @property
    def depth(self) -> int:
        return self._queue.depth

    def forecast(self, ticket: Ticket) -> Forecast:
        # One forecast serves all who wait: it is made anew when the line moved or somebody asks a second time.
        found = self._outlook.pop(ticket.number, None)
        if found is None:
            self._outlook = self._queue.forecasts(now_ms())
            found = self._outlook.pop(ticket.number)
        return found

    def stop(self) -> None:
        """Turn away whoever waits or comes; whoever runs may finish."""
        self.stopping = True
        for turn in self._turns.values():
            turn.tell()

    @contextmanager
    def turn(self, tenant: str, priority: int) -> Iterator[Turn]:
        """A place in the line, and later a slot; both are free again when the block ends, however it ends.

        Raises: NoRoom, Stopping.
        """
        if self.stopping:
            raise Stopping()
        at_ms = now_ms()
        ticket = Ticket(next(self._numbers), tenant, priority, at_ms)
        self._queue.enter(ticket)
        turn = self._turns[ticket.number] = Turn(self, ticket)
        self._advance(at_ms)  # the same instant: who finds a slot free has waited for exactly nothing
        try:
            yield turn
        finally:
            del self._turns[ticket.number]
            at_ms = now_ms()
            self._queue.leave(ticket, at_ms)
            self._advance(at_ms)

    def _advance(self, at_ms: int) -> None:
        self._outlook = {}
        for ticket in self._queue.start(at_ms):
            self._turns[ticket.number].begin(at_ms)
        for turn in self._turns.values():
            if not turn.started:
                turn.tell()
