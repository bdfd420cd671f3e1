"""Waiting for one's turn, in the loop: as long as the line moves, and is not longer than it can get on with.

A burst of short requests is evened out. A line that stands, since all threads wait for slow models, is known at once:
whoever comes then is told so instead of being kept in silence. So is who comes last to a line that is too long.
"""

import asyncio
from collections import deque

import msgspec

from chalicelib.http.capacity import STRANGERS_BODY_PERCENT, Bounds, Places, no_capacity

WARM = 16
"""Turns after which it is known how fast a line moves."""


class Patience(msgspec.Struct, frozen=True):
    """How long one may wait."""

    stands_s: float = 0.5  # for a line of which nobody's turn has come, and no place become free
    longest_s: float = 10.0  # for one that moves


class Turns:
    """Places, for which one may wait. Who holds least is next; then, who came first.

    Used in one loop; places may be given back from any thread.
    """

    def __init__(self, places: Places, patience: Patience) -> None:
        self._places = places
        self._patience = patience
        self._lines: dict[str, _Line] = {}
        self._moved_s: dict[str, float] = {}  # when whose places changed hands last; of those who hold some
        self._loop: asyncio.AbstractEventLoop | None = None

    def take_at_once(self, who: str, count: int = 1) -> bool:
        """Whether nobody of theirs is before them, and there is a place."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if who in self._lines or not self._places.take(who, count):
            return False
        self._moved_s[who] = self._loop.time()
        return True

    async def take(self, who: str, count: int = 1) -> None:
        """Raises NoCapacity."""
        if self.take_at_once(who, count):
            return
        loop = asyncio.get_running_loop()
        line = self._lines.setdefault(who, _Line())
        if line.takes_s > self._patience.longest_s:
            raise no_capacity()
        turn = _Turn(count, loop.time(), loop.create_future())
        line.waiting.append(turn)
        self._call_up()  # of what became free before anybody waited, nobody was told
        self._look_at_the_clock(who, turn, loop)
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
            line.leave(turn)
            if not line.waiting and self._lines.get(who) is line:  # and not the one after it
                del self._lines[who]

    def give_back(self, who: str, count: int = 1) -> None:
        """From any thread."""
        self._places.give_back(who, count)
        if self._loop is None:
            return
        self._moved_s[who] = self._loop.time()
        if self._lines:
            self._loop.call_soon_threadsafe(self._call_up)
        if not self._places.held(who):
            self._moved_s.pop(who, None)

    def _call_up(self) -> None:
        while any(self._call_one(who) for who in self._places.in_turn(self._lines)):
            continue

    def _call_one(self, who: str) -> bool:
        line = self._lines[who]
        turn = line.first
        if turn is None or not self._places.take(who, turn.count):
            return False
        assert self._loop is not None  # somebody waits in it
        now_s = self._moved_s[who] = self._loop.time()
        line.call(turn, now_s, self._patience.longest_s)
        return True

    def _look_at_the_clock(self, who: str, turn: "_Turn", loop: asyncio.AbstractEventLoop) -> None:
        if turn.came.done():
            return
        moved_s = self._moved_s.get(who, turn.since_s)
        until_s = min(moved_s + self._patience.stands_s, turn.since_s + self._patience.longest_s)
        if loop.time() >= until_s:
            turn.end(False)
        else:
            turn.timer = loop.call_at(until_s, self._look_at_the_clock, who, turn, loop)


class _Turn:
    """Of one who waits."""

    def __init__(self, count: int, since_s: float, came: "asyncio.Future[bool]") -> None:
        self.count = count
        self.since_s = since_s
        self.came = came
        self.timer: asyncio.TimerHandle | None = None

    def end(self, came: bool) -> None:
        self.came.set_result(came)

    @property
    def has_come(self) -> bool:
        return self.came.done() and not self.came.cancelled() and self.came.result()


class _Line:
    """Those of one tenant who wait, in the order in which they came."""

    def __init__(self) -> None:
        self.waiting: deque[_Turn] = deque()
        self._called = 0
        self._since_s = 0.0
        self._pace_s = 0.0  # from turn to turn

    @property
    def first(self) -> _Turn | None:
        while self.waiting and self.waiting[0].came.done():
            self.waiting.popleft()
        return self.waiting[0] if self.waiting else None

    @property
    def takes_s(self) -> float:
        """As far as is known, until who comes now has their turn."""
        return len(self.waiting) * self._pace_s

    def call(self, turn: _Turn, now_s: float, longest_s: float) -> None:
        """It is their turn; who comes last is told that theirs would not come in time."""
        turn.end(True)
        if self._called:
            self._pace_s = (now_s - self._since_s) / self._called if self._called >= WARM else 0.0
        else:
            self._since_s = now_s
        self._called += 1
        while self.waiting and self.takes_s > longest_s:
            last = self.waiting.pop()
            if not last.came.done():
                last.end(False)

    def leave(self, turn: _Turn) -> None:
        if turn in self.waiting:
            self.waiting.remove(turn)


AT_ONCE = Patience(stands_s=0.05, longest_s=0.05)
"""An answer is there before its thread is free: who asks again at once is not refused for their own last request."""


class Capacity:
    """Of one process; see Bounds."""

    def __init__(self, bounds: Bounds, patience: Patience) -> None:
        share = bounds.share_percent
        self.requests = Turns(Places(bounds.requests, share), AT_ONCE)
        self.streams = Places(bounds.streams, share)
        self.threads = Turns(Places(bounds.threads, share), patience)
        self.bodies = Turns(Places(bounds.body_bytes, share, min(share, STRANGERS_BODY_PERCENT)), patience)
