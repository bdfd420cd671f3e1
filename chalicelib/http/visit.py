"""What one request holds of its process, from its being taken in until its work has really ended."""

from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any

from chalicelib.http.capacity import no_capacity
from chalicelib.http.incoming import Incoming

if TYPE_CHECKING:  # of a loop; on plain Lambda there is none
    from concurrent.futures import Future, ThreadPoolExecutor

    from chalicelib.http.shared_threads import Share, SharedThreads
    from chalicelib.http.turns import Capacity


class Visit:
    """Of one request, counted to `who`, which has its place among `capacity.requests`; its work runs on `threads`."""

    def __init__(
        self, capacity: "Capacity", who: str, threads: "ThreadPoolExecutor", asked: Incoming | None = None
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

    def share_of(self, threads: "SharedThreads") -> "Share":
        """Of the threads that tenants share."""
        return threads.share(self._who)

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
