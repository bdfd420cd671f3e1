"""Takes a body's pieces in the loop, which waits for their source: a stream needs no thread after its first event."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from chalicelib.call import Pause, Source
from chalicelib.http.doors import Body
from chalicelib.http.shared_threads import Share
from chalicelib.http.sources import Sources

TAKEN_BYTES = 1_000_000
"""How much is taken at once; what else has come waits until that has left."""

Aside = Callable[[Callable[[], Any]], Future[Any]]
"""Begins work in one of a few threads."""


LOOK_AGAIN_S = 0.01
"""For a source that has no file to wait for."""

_STOPS = {
    None: (Pause.LULL, Pause.ASIDE, Pause.LENGTHY),
    Pause.ASIDE: (Pause.LULL, Pause.LENGTHY),
    Pause.LENGTHY: (Pause.LULL, Pause.ASIDE),
}
"""What is not taken in the loop, and by which thread: a settlement waits for no second stage, and holds up none."""


class Pump:
    """The pieces of one polled body. Used in the loop; what would block that runs aside.

    A slow reader holds the engine back: as long as `taken` is not called, one piece is read ahead at most.
    """

    def __init__(
        self,
        body: Body,
        source: Source,
        sources: Sources,
        aside: Aside,
        share: Share,
        arrived: Callable[[], None],
    ) -> None:
        """`share`: of the threads for what takes long.

        `arrived` is called when a pump that `rests` may have something.
        """
        self._body = body
        self._pieces = iter(body)
        self._source = source
        self._sources = sources
        self._begin_aside = aside
        self._share = share
        self._waiting: asyncio.Task[None] | None = None  # for one of its threads
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._file = -1  # that is listened to
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.rests = False  # until its source has something
        self._next: Pause | None = None  # where what comes next is to be taken, if not in the loop
        self.ended = False

    async def taken(self) -> bytes:
        """What has come; empty where nothing has. `ended`: nothing will any more. Raises NoCapacity."""
        kind = self._next
        if kind is None:
            return self.take()
        self._listen_no_more()
        begin = self._begin_aside
        if kind is Pause.LENGTHY:
            if not await self._has_turn():
                return b""
            begin = self._share.begin
        taken: tuple[bytes, Pause | None] = await asyncio.wrap_future(begin(partial(self._take_aside, kind)))
        pieces, pause = taken
        self._next = pause if pause is not Pause.LULL else None
        return pieces

    def give_up(self) -> None:
        """Nobody reads it any more: whoever waits for a thread waits no longer."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def _has_turn(self) -> bool:
        """Whether a thread was taken. Raises NoCapacity."""
        self._waiting = waiting = asyncio.ensure_future(self._share.turn())
        try:
            await asyncio.wait((waiting,))
        except asyncio.CancelledError:
            waiting.cancel()
            raise
        finally:
            self._waiting = None
        if waiting.cancelled():
            return False
        waiting.result()
        return True

    def take(self) -> bytes:
        """The same, at once, where no thread is to take it."""
        self.rests = False
        pieces, pause = self._come(None)
        if pause is Pause.LULL:
            self._listen()
        else:
            self._next = pause
        return pieces

    @property
    def aside(self) -> bool:
        """Whether a thread is to take what comes next."""
        return self._next is not None

    def close(self) -> "asyncio.Future[Any] | None":
        """Take no more, and close the body aside; None where that is done."""
        self._listen_no_more()
        if self._closed:
            return None
        self._closed = self.ended = True
        return asyncio.wrap_future(self._begin_aside(self._body.close))

    def _take_aside(self, kind: Pause) -> tuple[bytes, Pause | None]:
        """In a thread of this kind: what has come, or all to the end."""
        taken = self._come(kind)
        if self.ended:
            self._body.close()
            self._closed = True
        return taken

    def _come(self, kind: Pause | None) -> tuple[bytes, Pause | None]:
        """What has come, and what to do then; None: enough has come, or it has `ended`. `kind`: of thread."""
        stops = _STOPS[kind]
        pieces: list[bytes] = []
        size = 0
        pause = None
        for piece in self._pieces:
            if isinstance(piece, bytes):
                pieces.append(piece)
                size += len(piece)
                if size >= TAKEN_BYTES:
                    break
            elif piece in stops:
                pause = piece
                break
        else:
            self.ended = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), pause

    def _listen(self) -> None:
        self.rests = True
        if self._file < 0:
            self._file = self._source.fileno()
            if self._file >= 0:
                self._sources.listen(self._file, self._readable)
        if self._timer is None:
            # Seldom moved: almost every piece comes in time, and another look at the clock costs less than a timer.
            after_s = LOOK_AGAIN_S if self._file < 0 else self._source.patience_s()
            self._timer = self._loop.call_later(after_s, self._look_at_the_clock)

    def _listen_no_more(self) -> None:
        self.rests = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._file >= 0:
            self._sources.listen_no_more(self._file)
            self._file = -1

    def _readable(self) -> None:
        self._source.receive()
        if self.rests:
            self._has_come()
        else:
            self._listen_no_more()  # until its reader has taken what was read

    def _has_come(self) -> None:
        self.rests = False
        self._arrived()

    def _look_at_the_clock(self) -> None:
        self._timer = None
        if not self.rests:
            return
        left_s = 0.0 if self._file < 0 else self._source.patience_s()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look_at_the_clock)
        else:
            self._has_come()  # nothing, and the next piece says so
