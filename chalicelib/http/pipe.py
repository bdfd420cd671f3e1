"""What carries a reply from the thread that makes it to the loop that sends it."""

import asyncio
from collections import deque
from threading import Condition
from typing import Any

from chalicelib.http.doors import Body

PIPE_BYTES = 1_000_000
"""How far an engine may run ahead of a slow reader."""


class Pipe:
    """A reply from a thread that blocks to a loop that must not; what piles up of its body leaves in one piece."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patience_s: float) -> None:
        self.head: asyncio.Future[dict[str, Any] | None] = loop.create_future()
        self.body: Body | None = None  # what is to be closed, where the reply streams
        self._loop = loop
        self._patience_s = patience_s
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._state = Condition()
        self.ended = False
        self._arrived = asyncio.Event()
        self.abandoned = False

    def tell_soon(self, reply: dict[str, Any] | BaseException) -> None:
        """In a thread: the reply is there, or will never be."""
        self._loop.call_soon_threadsafe(self.tell, reply)

    def tell(self, reply: dict[str, Any] | BaseException | None) -> None:
        """In the loop: see tell_soon; None where nobody waits for one any more."""
        if self.head.done():
            return
        if isinstance(reply, BaseException):
            self.head.set_exception(reply)
        else:
            self.head.set_result(reply)

    def fill(self, body: Body) -> None:
        """In a thread: read the body to its end, waiting while the reader is far behind, but not for ever."""
        try:
            if self.abandoned:
                return
            for piece in body:
                with self._state:
                    if not self._state.wait_for(lambda: self._size < PIPE_BYTES or self.abandoned, self._patience_s):
                        self.abandoned = True
                    if self.abandoned:
                        return
                    self._pieces.append(piece)
                    self._size += len(piece)
                    first = len(self._pieces) == 1
                if first:
                    self._loop.call_soon_threadsafe(self._arrived.set)
        finally:
            self.ended = True
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def drained(self) -> bytes:
        """In the loop: everything that has arrived, joined; empty when nothing will come any more."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            ended = self.ended  # before looking: what came before the end is still there
            with self._state:
                pieces = b"".join(self._pieces)
                self._pieces.clear()
                self._size = 0
                self._state.notify()
            if self.abandoned:
                return b""
            if ended:
                self._arrived.set()
            if pieces or ended:
                return pieces

    def abandon(self) -> None:
        """The reader is gone."""
        with self._state:
            self.abandoned = True
            self._state.notify()
        self._arrived.set()
