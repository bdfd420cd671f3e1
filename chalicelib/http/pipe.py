"""What carries a reply from the thread that makes it to the loop that sends it."""

import asyncio
from collections import deque
from threading import Condition
from typing import Any

from chalicelib.http.doors import Body
from chalicelib.http.silence import Gaps, Promise

PIPE_BYTES = 1_000_000
"""How far an engine may run ahead of a slow reader."""


class Pipe:
    """A reply from a thread that blocks to a loop that must not; what piles up of its body leaves in one piece.

    A stream that was promised is opened without its reply, where that keeps silent, and says something in its gaps. All
    of that is the loop's work: no thread waits for it, and a piece costs no more than a look at the clock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, patience_s: float, gaps: Gaps) -> None:
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
        self._gaps = gaps
        self._promise: Promise | None = None
        self._opened = False  # by us, not by its reply
        self._due_s = loop.time() + gaps.first_s  # when something must have been said
        self._timer = loop.call_at(self._due_s, self._break_silence)

    def promised(self, promise: Promise) -> None:
        """In a thread: see StreamingTransport."""
        self._promise = promise

    def tell_soon(self, reply: dict[str, Any] | BaseException) -> None:
        """In a thread: the reply is there, or will never be."""
        self._loop.call_soon_threadsafe(self.tell, reply)

    def tell(self, reply: dict[str, Any] | BaseException | None) -> None:
        """In the loop: see tell_soon; None where nobody waits for one any more."""
        if self.head.done():
            if self._opened and reply is not None:
                self._told_late(reply)
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
                self._due_s = self._loop.time() + self._gaps.next_s
                return pieces

    def abandon(self) -> None:
        """The reader is gone."""
        with self._state:
            self.abandoned = True
            self._state.notify()
        self._arrived.set()

    def stop(self) -> None:
        """In the loop: nothing is sent any more."""
        self._timer.cancel()

    def _break_silence(self) -> None:
        """In the loop: a sign of life, where one is due."""
        if self.ended or self.abandoned:
            return
        now_s = self._loop.time()
        if now_s >= self._due_s:
            if self._promise is not None:
                self._speak(self._promise)
            self._due_s = now_s + (self._gaps.first_s if self._promise is None else self._gaps.next_s)
        self._timer = self._loop.call_at(self._due_s, self._break_silence)

    def _speak(self, promise: Promise) -> None:
        if not self.head.done():
            self._opened = True
            self.head.set_result({"statusCode": 200, "headers": promise.headers, "body": None})
        with self._state:
            if self._pieces:  # it is the reader who does nothing
                return
            self._pieces.append(promise.sign)
            self._size += len(promise.sign)
        self._arrived.set()

    def _told_late(self, reply: dict[str, Any] | BaseException) -> None:
        """The reply to what is open already: a stream fills it, and what refuses it is its last event."""
        if isinstance(reply, BaseException):
            return self.abandon()
        body = reply["body"]
        if isinstance(body, str):  # Chalice's own answers
            body = body.encode()
        if self._promise is not None and isinstance(body, bytes):
            with self._state:
                self._pieces.append(self._promise.refusal(body))
            self.ended = True
            self._arrived.set()
        return None
