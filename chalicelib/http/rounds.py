"""Something that is done every few seconds, aside, for as long as there is something to do."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

Round = Callable[[], bool]
"""One round, in a thread; whether another one is to follow."""


class Rounds:
    """Used in the loop. A round that takes long delays the next one; two never run at once."""

    def __init__(self, go: Round, aside: Callable[[Round], "Future[bool]"], every_s: float) -> None:
        self._go = go
        self._aside = aside
        self._every_s = every_s
        self._waiting = False
        self._more = False  # came while a round was on its way, which may have missed it

    def begin(self) -> None:
        """There is something to do, from now on."""
        self._more = True
        if not self._waiting:
            self._waiting = True
            asyncio.get_running_loop().call_later(self._every_s, self._begin_round)

    def _begin_round(self) -> None:
        self._more = False
        asyncio.wrap_future(self._aside(self._go)).add_done_callback(self._end_round)

    def _end_round(self, gone: "asyncio.Future[bool]") -> None:
        self._waiting = False
        if not gone.cancelled() and (self._more or gone.exception() is not None or gone.result()):
            self.begin()
