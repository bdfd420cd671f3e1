"""What carries a reply from the thread that makes it to the loop that sends it."""

import asyncio
import math
from collections import deque
from threading import Condition
from typing import Any

from chalicelib.call import Pause, Source
from chalicelib.http.asgi import Writer
from chalicelib.http.doors import Body
from chalicelib.http.pump import Aside, Pump
from chalicelib.http.shared_threads import Share
from chalicelib.http.silence import Gaps, Promise
from chalicelib.http.sources import Sources
from chalicelib.refusal import NoCapacity

PIPE_BYTES = 1_000_000
"""How far an engine may run ahead of a slow reader."""


class Pipe:
    """A reply from a thread that blocks to a loop that must not; what piles up of its body leaves in one piece.

    The pieces come by a pump, which takes them in the loop; those that only a thread can take, one fills in. A reader
    who takes nothing for `patience_s` has left.

    A stream that was promised is opened without its reply, where that keeps silent, and says something in its gaps. All
    of that is the loop's work: no thread waits for it, and a piece costs no more than a look at the clock.
    """

    def __init__(
        self,
        aside: Aside,
        keeping: Aside,
        share: Share,
        sources: Sources,
        patience_s: float,
        gaps: Gaps,
        writer: Writer | None = None,
    ) -> None:
        """`aside` begins what ends the body, `keeping` what keeps it going, `share` what takes long of it.

        `writer`: None where there is none.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._aside = aside
        self.keeping = keeping
        self._share = share
        self._sources = sources
        self.head: asyncio.Future[dict[str, Any] | None] = loop.create_future()
        self._pump: Pump | None = None
        self._filling: Body | None = None
        self._patience_s = patience_s
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._state = Condition()
        self._ended = False
        self._arrived = asyncio.Event()
        self._writer = writer
        self._awaited = False  # what arrives: `drained` waits for it
        self._broken: BaseException | None = None  # what taking it met
        self.abandoned = False
        self._gaps = gaps
        self._promise: Promise | None = None
        self._opened = False  # by us, not by its reply
        self._due_s = loop.time() + gaps.first_s  # when something must have been said
        self._sent_s = math.inf  # since when the reader has been taking what it was sent
        self._timer = loop.call_later(min(gaps.first_s, patience_s), self._look_at_the_clock)

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
        self._sent_s = self._loop.time()
        if isinstance(reply, BaseException):
            self.head.set_exception(reply)
        else:
            self.head.set_result(reply)

    def hand_over(self, reply: dict[str, Any], source: Source) -> None:
        """In a thread: the reply, whose body needs none any more."""
        self._loop.call_soon_threadsafe(self._draw, reply, source)

    def _draw(self, reply: dict[str, Any], source: Source) -> None:
        self._pump = Pump(reply["body"], source, self._sources, self._aside, self._share, self.arrive)
        if self.abandoned:
            self._pump.close()
        self.arrive()
        self.tell(reply)

    def fill(self, body: Body) -> None:
        """In a thread: take the body to its end, waiting while the reader is far behind, and close it."""
        self._filling = body
        try:
            for piece in body if not self.abandoned else ():
                if isinstance(piece, Pause):
                    continue
                with self._state:
                    self._state.wait_for(lambda: self._size < PIPE_BYTES or self.abandoned)
                    if self.abandoned:
                        return
                    self._pieces.append(piece)
                    self._size += len(piece)
                    first = len(self._pieces) == 1
                if first:
                    self._loop.call_soon_threadsafe(self.arrive)
        finally:
            self._ended = True
            self._loop.call_soon_threadsafe(self.arrive)
            body.close()

    def wake(self) -> None:
        """From any thread: see Loop.wake."""
        self._loop.call_soon_threadsafe(self.arrive)

    def arrive(self) -> None:
        """In the loop: there may be something to send. It is, at once, where that is all that is to be done."""
        if not self._passed_on():
            self._arrived.set()

    async def drained(self) -> bytes:
        """In the loop: everything that has arrived, joined; empty when nothing will come any more."""
        self._sent_s = math.inf
        while True:
            self._awaited = True
            await self._arrived.wait()
            self._awaited = False
            self._arrived.clear()
            if self._broken is not None:
                raise self._broken
            if self.abandoned:
                return b""
            if self._pump is None:
                ended = self._ended  # before looking: what came before the end is still there
                pieces = self._emptied()
            else:
                try:
                    taken = await self._pump.taken()
                except NoCapacity:  # its status is long gone: it breaks off
                    self.abandon()
                    return b""
                ended = self._ended = self._pump.ended
                if not self._pump.rests:
                    self._arrived.set()
                pieces = self._emptied() + taken if self._pieces else taken
            if self.abandoned:
                return b""
            if ended:
                self._arrived.set()
            if pieces or ended:
                self._sent_s = self._loop.time()
                self._due_s = self._sent_s + self._gaps.next_s
                return pieces

    def _passed_on(self) -> bool:
        """Whether the writer has got what has come, and no more is to be done before something else comes."""
        pump, writer = self._pump, self._writer
        if pump is None or writer is None or not self._awaited or self._arrived.is_set():
            return False
        if self.abandoned or pump.aside or pump.ended or self._pieces or not writer.ready:
            return False
        try:
            piece = pump.take()
        except BaseException as error:
            self._broken = error
            return False
        if piece:
            writer.write(piece)
            self._due_s = self._loop.time() + self._gaps.next_s
        return pump.rests

    def _emptied(self) -> bytes:
        """What a thread has filled in, or the loop itself."""
        with self._state:
            pieces = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            self._state.notify()
        return pieces

    def abandon(self) -> None:
        """The reader is gone."""
        with self._state:
            self.abandoned = True
            self._state.notify()
        if self._pump is not None:
            self._pump.give_up()
        self._arrived.set()

    def close(self) -> "asyncio.Future[Any] | None":
        """In the loop: nothing is sent any more, and the body is closed aside; None where it is."""
        self._timer.cancel()
        self.abandon()
        if self._pump is not None:
            return self._pump.close()
        if self._filling is None or self._ended:
            return None
        # Its own thread may be waiting for a silent engine.
        return asyncio.wrap_future(self._aside(self._filling.close))

    def _look_at_the_clock(self) -> None:
        """In the loop: a sign of life, where one is due; and the end, where the reader has left."""
        if self._ended or self.abandoned:
            return
        now_s = self._loop.time()
        if now_s >= self._sent_s + self._patience_s:
            self.close()
            return
        if now_s >= self._due_s:
            if self._promise is not None:
                self._speak(self._promise)
            self._due_s = now_s + (self._gaps.first_s if self._promise is None else self._gaps.next_s)
        by_s = min(self._due_s, self._sent_s + self._patience_s, now_s + self._patience_s)
        self._timer = self._loop.call_at(by_s, self._look_at_the_clock)

    def _speak(self, promise: Promise) -> None:
        if not self.head.done():
            self._opened = True
            self.head.set_result({"statusCode": 200, "headers": promise.headers, "multiValueHeaders": {}, "body": None})
        with self._state:
            if self._pieces or self._sent_s < math.inf:  # it is the reader who does nothing
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
            self._ended = True
            self._arrived.set()
        return None
