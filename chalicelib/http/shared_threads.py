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

    async def take(self, who: str) -> None:
        """One, for `who`; then `begin`. Raises NoCapacity."""
        await self._turns.take(who)

    def share(self, who: str) -> "Share":
        """Theirs of it."""
        return Share(self, who)

    def begin(self, who: str, work: Callable[[], T]) -> "Future[T]":
        """Do this in the thread that was taken, which is free again as soon as that is done."""
        working = self._threads.submit(work)
        working.add_done_callback(lambda _: self._turns.give_back(who))
        return working


class Share:
    """Of `who`."""

    def __init__(self, threads: SharedThreads, who: str) -> None:
        self._threads = threads
        self._who = who

    async def turn(self) -> None:
        """See SharedThreads.take."""
        await self._threads.take(self._who)

    def begin(self, work: Callable[[], T]) -> "Future[T]":
        """See SharedThreads.begin."""
        return self._threads.begin(self._who, work)
