"""Waiting for one's turn, in the loop: as long as the line moves, and never for long.

A burst of short requests is evened out. A line that stands, since all threads wait for slow models, is known at once:
whoever comes then is told so instead of being kept in silence.
"""

import asyncio
from collections import deque

from chalicelib.http.capacity import Places
from chalicelib.refusal import NoCapacity

STANDS_S = 0.5
"""A line of which nobody's turn has come for so long, and no place become free, stands."""

LONGEST_S = 2.0


class Turns:
    """Places, for which one may wait. Who holds least is next; then, who came first.

    Used in one loop; places may be given back from any thread.
    """

    def __init__(self, places: Places, *, stands_s: float = STANDS_S, longest_s: float = LONGEST_S) -> None:
        self._places = places
        self._stands_s = stands_s
        self._longest_s = longest_s
        self._waiting: dict[str, deque[_Turn]] = {}
        self._moved_s: dict[str, float] = {}  # when whose line did so last; of those who hold places
        self._loop: asyncio.AbstractEventLoop | None = None

    def take_at_once(self, who: str, count: int = 1) -> bool:
        """Whether nobody of theirs is before them, and there is a place."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if who in self._waiting or not self._places.take(who, count):
            return False
        self._moved_s[who] = self._loop.time()
        return True

    async def take(self, who: str, count: int = 1) -> None:
        """Raises NoCapacity."""
        if self.take_at_once(who, count):
            return
        loop = asyncio.get_running_loop()
        turn = _Turn(count, loop.time(), loop.create_future())
        self._waiting.setdefault(who, deque()).append(turn)
        self._call_up()  # of what became free before anybody waited, nobody was told
        self._look_at_the_clock(who, turn)
        try:
            if not await turn.came:
                raise no_capacity()
        except asyncio.CancelledError:
            if turn.has_come:
                self.give_back(who, count)
            raise
        finally:
            if turn.timer is not None:
                turn.timer.cancel()
            self._forget(who, turn)

    def give_back(self, who: str, count: int = 1) -> None:
        """From any thread."""
        self._places.give_back(who, count)
        if self._loop is None:
            return
        self._moved_s[who] = self._loop.time()
        if self._waiting:
            self._loop.call_soon_threadsafe(self._call_up)
        if not self._places.held(who):
            self._moved_s.pop(who, None)

    def _call_up(self) -> None:
        while any(self._call_one(who) for who in self._places.in_turn(self._waiting)):
            continue

    def _call_one(self, who: str) -> bool:
        turn = next((turn for turn in self._waiting[who] if not turn.came.done()), None)
        if turn is None or not self._places.take(who, turn.count):
            return False
        assert self._loop is not None  # somebody waits in it
        self._moved_s[who] = self._loop.time()
        turn.came.set_result(True)
        return True

    def _look_at_the_clock(self, who: str, turn: "_Turn") -> None:
        if turn.came.done() or self._loop is None:
            return
        now_s = self._loop.time()
        until_s = min(self._moved_s.get(who, turn.since_s) + self._stands_s, turn.since_s + self._longest_s)
        if now_s >= until_s:
            turn.came.set_result(False)
        else:
            turn.timer = self._loop.call_at(until_s, self._look_at_the_clock, who, turn)

    def _forget(self, who: str, turn: "_Turn") -> None:
        queue = self._waiting[who]
        queue.remove(turn)
        if not queue:
            del self._waiting[who]


class _Turn:
    """Of one who waits."""

    def __init__(self, count: int, since_s: float, came: "asyncio.Future[bool]") -> None:
        self.count = count
        self.since_s = since_s
        self.came = came
        self.timer: asyncio.TimerHandle | None = None

    @property
    def has_come(self) -> bool:
        return self.came.done() and not self.came.cancelled() and self.came.result()


def no_capacity() -> NoCapacity:
    return NoCapacity("The service has as much to do as it can take. Try again shortly.", retry_in_ms=1_000)
