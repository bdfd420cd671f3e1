"""Callers whom this process does not remember, judged on threads of their own before a byte of their body is taken.

Whoever is at work already is not held up by a flood of wrong keys, nor they by those who are at work.
"""

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, TypeVar

from chalicelib.http.shared_threads import SharedThreads
from chalicelib.http.turns import Patience

T = TypeVar("T")

THREADS = 32


class Judges:
    """Threads, and what is being judged on them. Used in one loop."""

    def __init__(self, share_percent: int, patience: Patience) -> None:
        self._threads = SharedThreads(THREADS, "judge", share_percent, patience)
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, who: str, judge: Callable[[], T]) -> T:
        """What the judge says, in a thread. `who`: for whom. Raises: as the judge; NoCapacity."""
        share = self._threads.share(who)
        await share.turn()
        return await asyncio.wrap_future(share.begin(judge))

    async def agree(self, who: str, case: Hashable, judge: Callable[[], None]) -> None:
        """The same; a case that comes many times at once, as after a start, is judged once for all of them.

        What lets in one lets in all, for each is judged again where it counts. What refuses them must have been judged
        after they came.
        """
        earlier = self._under_way.get(case)
        if earlier is not None:
            with suppress(Exception):
                return await asyncio.shield(earlier)
        if self._under_way.get(case) in (None, earlier):
            judging = asyncio.ensure_future(self.run(who, judge))
            self._under_way[case] = judging
            judging.add_done_callback(lambda done: self._forget(case, done))
        return await asyncio.shield(self._under_way[case])

    def _forget(self, case: Hashable, done: "asyncio.Task[Any]") -> None:
        if self._under_way.get(case) is done:
            del self._under_way[case]
        if not done.cancelled():
            done.exception()  # whoever waited for it has it
