"""Takes a body's pieces in the loop, which waits for their source: a stream needs no thread after its first event."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from chalicelib.call import Pause, Source
from chalicelib.http.doors import Body
from chalicelib.http.sources import Sources

TAKEN_BYTES = 1_000_000
"""How much is taken at once; what else has come waits until that has left."""

Aside = Callable[[Callable[[], Any]], Future[Any]]
"""Begins work in one of a few threads."""

LOOK_AGAIN_S = 0.01
"""For a source that has no file to wait for."""

_TO_WAIT = (Pause.LULL,)
_TO_LEAVE = (Pause.LULL, Pause.ASIDE)


class Pump:
    """The pieces of one polled body. Used in the loop; what would block that runs aside.

    A slow reader holds the engine back: as long as `taken` is not called, one piece is read ahead at most.
    """

    def __init__(self, body: Body, source: Source, sources: Sources, aside: Aside, arrived: Callable[[], None]) -> None:
        """`arrived` is called when a pump that `rests` may have something."""
        self._body = body
        self._pieces = iter(body)
        self._source = source
        self._sources = sources
        self._begin_aside = aside
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._file = -1  # that is listened to
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.rests = False  # until its source has something
        self.aside = False  # what comes next is to be taken there
        self.ended = False

    async def taken(self) -> bytes:
        """What has come; empty where nothing has. `ended`: nothing will any more."""
        if not self.aside:
            return self.take()
        self.aside = False
        self._listen_no_more()
        pieces: bytes = await asyncio.wrap_future(self._begin_aside(self._take_aside))
        return pieces

    def take(self) -> bytes:
        """The same, at once, where it is not to be taken `aside`."""
        self.rests = False
        pieces, pause = self._come(_TO_LEAVE)
        self.aside = pause is Pause.ASIDE
        if pause is Pause.LULL:
            self._listen()
        return pieces

    def close(self) -> "asyncio.Future[Any] | None":
        """Take no more, and close the body aside; None where that is done."""
        self._listen_no_more()
        if self._closed:
            return None
        self._closed = self.ended = True
        return asyncio.wrap_future(self._begin_aside(self._body.close))

    def _take_aside(self) -> bytes:
        """In a thread: what has come, or all to the end."""
        pieces, _ = self._come(_TO_WAIT)
        if self.ended:
            self._body.close()
            self._closed = True
        return pieces

    def _come(self, stops: tuple[Pause, ...]) -> tuple[bytes, Pause | None]:
        """What has come, and which of `stops` comes next; None: enough has come, or it has `ended`."""
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
