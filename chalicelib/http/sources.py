"""What the streams in a loop wait for: of those that have something, some are read in each turn of the loop.

A thousand streams have something in every turn of a busy loop. Were all of them read in one, whoever comes in by the
door would wait for all of them in each of the few turns that they need.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from selectors import EVENT_READ, DefaultSelector

AT_ONCE = 64


class Sources:
    """Used in one loop, to which all of them are one file: the selector's own."""

    def __init__(self) -> None:
        self._selector = DefaultSelector()
        self._come: dict[int, Callable[[], None]] = {}
        self._ready: deque[int] = deque()
        self._begun = False

    def listen(self, file: int, come: Callable[[], None]) -> None:
        """`come` is called in the loop as often as there is something, until `listen_no_more`."""
        self._selector.register(file, EVENT_READ)
        self._come[file] = come
        if not self._begun:
            self._begun = True
            asyncio.get_running_loop().add_reader(self._selector.fileno(), self._turn)

    def listen_no_more(self, file: int) -> None:
        self._selector.unregister(file)
        del self._come[file]

    def _turn(self) -> None:
        if not self._ready:
            self._ready.extend(key.fd for key, _ in self._selector.select(0))
        for _ in range(min(AT_ONCE, len(self._ready))):
            come = self._come.get(self._ready.popleft())
            if come is not None:  # not listened to any more since
                come()
