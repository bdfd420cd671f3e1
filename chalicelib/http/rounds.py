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

    def begin(self) -> None:
        """There is something to do, from now on."""
        if not self._waiting:
            self._waiting = True
            asyncio.get_running_loop().call_later(self._every_s, self._begin_round)

    def _begin_round(self) -> None:
        asyncio.wrap_future(self._aside(self._go)).add_done_callback(self._end_round)

    def _end_round(self, gone: "asyncio.Future[bool]") -> None:
        self._waiting = False
        if not gone.cancelled() and (gone.exception() is not None or gone.result()):
            self.begin()
