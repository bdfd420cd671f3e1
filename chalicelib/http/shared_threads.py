"""Threads that tenants share: whoever keeps many busy leaves some for others."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from chalicelib.http.capacity import Places
from chalicelib.http.turns import Patience, Turns

T = TypeVar("T")


class SharedThreads:
    """So many, each taken in turn. Used in one loop."""

    def __init__(self, count: int, name: str, share_percent: int, patience: Patience) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._turns = Turns(Places(count, share_percent), patience)

    def share(self, who: str) -> "Share":
        """Theirs of it."""
        return Share(self._threads, self._turns, who)


class Share:
    """Of `who`."""

    def __init__(self, threads: ThreadPoolExecutor, turns: Turns, who: str) -> None:
        self._threads = threads
        self._turns = turns
        self._who = who

    async def turn(self) -> None:
        """Take a thread; then `begin`. Raises NoCapacity."""
        await self._turns.take(self._who)

    def begin(self, work: Callable[[], T]) -> "Future[T]":
        """Do this in the thread that was taken, which is free again as soon as that is done."""
        working = self._threads.submit(work)
        working.add_done_callback(lambda _: self._turns.give_back(self._who))
        return working
