"""How many requests a loop begins with in one of its turns: a burst of them must not hold up what else it does."""

import asyncio
from collections import deque

AT_ONCE = 8


class Doorway:
    """Used in one loop."""

    def __init__(self) -> None:
        self._left = AT_ONCE  # of this turn
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._turning = False

    async def enter(self) -> None:
        """In this turn, or in one of the next: in the order in which they came."""
        loop = asyncio.get_running_loop()
        if not self._turning:
            self._turning = True
            loop.call_soon(self._turn, loop)
        if self._left and not self._waiting:
            self._left -= 1
            return
        waits = loop.create_future()
        self._waiting.append(waits)
        await waits

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = AT_ONCE
        self._turning = bool(self._waiting)
        if self._turning:
            loop.call_soon(self._turn, loop)
        while self._left and self._waiting:
            waits = self._waiting.popleft()
            if not waits.done():  # its client has left
                waits.set_result(None)
                self._left -= 1
