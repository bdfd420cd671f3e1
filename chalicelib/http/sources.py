"""What the streams in a loop wait for: of those that have something, some are read in each turn of the loop.

A thousand streams have something in every turn of a busy loop. Were all of them read in one, whoever comes in by the
door would wait for all of them in each of the few turns that they need.
"""

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress

AT_ONCE = 64


class Sources:
    """Used in one loop, to which all of them are one file: the epoll's own.

    The kernel tells of AT_ONCE that have something, and the next time of those that come after them.
    """

    def __init__(self) -> None:
        self._files = select.epoll()
        self._come: dict[int, Callable[[], None]] = {}
        self._begun = False

    def listen(self, file: int, come: Callable[[], None]) -> None:
        """`come` is called in the loop as often as there is something, until `listen_no_more`."""
        self._files.register(file, select.EPOLLIN)
        self._come[file] = come
        if not self._begun:
            self._begun = True
            asyncio.get_running_loop().add_reader(self._files.fileno(), self._turn)

    def listen_no_more(self, file: int) -> None:
        with suppress(OSError):  # it was closed, by which the kernel forgot it
            self._files.unregister(file)
        del self._come[file]

    def _turn(self) -> None:
        for file, _ in self._files.poll(0, AT_ONCE):
            come = self._come.get(file)
            if come is not None:  # not listened to any more since
                come()
