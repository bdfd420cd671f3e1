"""What one request holds of its process, from its being taken in until its work has really ended."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from threading import Lock
from typing import Any

from chalicelib.http.capacity import STRANGERS_BODY_PERCENT, Bounds, Places
from chalicelib.http.incoming import Incoming
from chalicelib.http.turns import Patience, Turns, no_capacity

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


class Visit:
    """Of one request, counted to `who`, which has its place among `capacity.requests`; its work runs on `threads`."""

    def __init__(
        self, capacity: Capacity, who: str, threads: ThreadPoolExecutor, asked: Incoming | None = None
    ) -> None:
        """`asked`: the request, where it was read to know its caller; for whoever works on it."""
        self.threads = threads
        self.asked = asked
        self._capacity = capacity
        self._who = who
        self._body_bytes = 0
        self._thread = False
        self._working = True
        self._streaming = False
        self._left = False
        self._lock = Lock()

    async def make_room(self, count: int) -> None:
        """For so many more bytes of its body. Raises NoCapacity."""
        await self._capacity.bodies.take(self._who, count)
        self._body_bytes += count

    def has_thread_at_once(self) -> bool:
        self._thread = self._capacity.threads.take_at_once(self._who)
        return self._thread

    async def take_thread(self) -> None:
        """In turn. Raises NoCapacity."""
        await self._capacity.threads.take(self._who)
        self._thread = True

    def open_stream(self) -> None:
        """In its thread, before a model is asked. Raises NoCapacity."""
        with self._lock:
            if self._left or self._streaming:
                return
            if not self._capacity.streams.take(self._who):
                raise no_capacity()
            self._streaming = True

    def end_work(self, _done: "Future[Any] | None" = None) -> None:
        """From any thread: no thread works on it any more, be that because its stream needs none."""
        if not self._working:
            return
        self._working = False
        self.asked = None
        if self._thread:
            self._capacity.threads.give_back(self._who)
        if self._body_bytes:
            self._capacity.bodies.give_back(self._who, self._body_bytes)
        self._capacity.requests.give_back(self._who)

    def leave(self) -> None:
        """Its answer has ended, and is closed."""
        with self._lock:
            self._left = True
            if self._streaming:
                self._streaming = False
                self._capacity.streams.give_back(self._who)


visiting: ContextVar[Visit | None] = ContextVar("visiting", default=None)
"""The request that is being answered, where a process has many; None on plain Lambda."""
