"""One answer: its head is there; its body comes."""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping

from chalicelib.http1.connection import Connection
from chalicelib.http1.failure import BrokeOff, Failed, NotHttp, Silent
from chalicelib.http1.parsing import Head

TAIL_S = 0.2  # for the end of a body of which everything is known that matters
TAIL_READS = 4  # more than that is no tail
BYTES_PER_S = 65_536  # by which what is read as a whole comes at least

Keep = Callable[[Connection], None]
"""Takes a connection that can be used again."""


class Answer:
    """Read by one thread, or polled by a loop; closed by any thread. Whoever has it closes it, always."""

    def __init__(self, head: Head, connection: Connection, silence_s: float, keep: Keep) -> None:
        """`silence_s`: the longest that `next` waits for, or soon after."""
        self.status: int = head.status
        self.headers: Mapping[str, str] = head.headers
        self._connection = connection
        self._parsing = connection.answer
        self._silence_s = silence_s
        self._keep = keep
        self._failure: Failed | None = None  # that a loop met
        self._lock = threading.Lock()
        self._reading = False
        self._closed = False

    def wait_at_most(self, seconds: float) -> None:
        """As `silence_s`, from now on."""
        self._silence_s = seconds

    def next(self) -> bytes:
        """What has arrived of the body, waiting for something; empty at the end. Raises Failed."""
        self._begin()
        try:
            self._connection.wait_at_most(self._silence_s)
            began_s = time.monotonic()
            while not (piece := self._parsing.take()) and not self._parsing.ended:
                if time.monotonic() - began_s > self._silence_s:  # what comes is nothing of the body
                    raise Silent("slow body")
                self._connection.receive()
            return piece
        finally:
            self._end()

    def receive(self) -> None:
        """In a loop, at first and whenever `fileno()` can be read: take in what is there. What fails, `poll` raises."""
        with self._lock:
            if self._closed:
                return
            self._reading = True
        connection = self._connection
        try:
            connection.wait_at_most(0)
            while not self._parsing.ended and connection.receive() and connection.holds_back:
                pass
        except Failed as failure:
            self._failure = failure
        finally:
            self._end()

    def poll(self) -> bytes | None:
        """What has been received of the body; empty at the end, None where nothing has come. Raises Failed."""
        if self._closed:
            raise BrokeOff("closed")
        piece = self._parsing.take()
        if piece or self._parsing.ended:
            return piece
        if self._failure is not None:
            raise self._failure
        return None

    def fileno(self) -> int:
        return self._connection.fileno()

    def read(self, limit_bytes: int) -> bytes:
        """All of it, and close. It may take as long as `next` may, and a second more for each BYTES_PER_S that come.

        Raises Failed: NotHttp where it is longer than `limit_bytes`.
        """
        pieces = []
        size = 0
        began_s = time.monotonic()
        try:
            while piece := self.next():
                pieces.append(piece)
                size += len(piece)
                if size > limit_bytes:
                    raise NotHttp("too long")
                if time.monotonic() - began_s > self._silence_s + size / BYTES_PER_S and not self._parsing.ended:
                    raise Silent("slow body")
        finally:
            self.close()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self) -> None:
        """All that matters is known: read the rest, if it is little, so that the connection serves others; close."""
        self._silence_s = TAIL_S
        with contextlib.suppress(Failed):
            for _ in range(TAIL_READS):
                if not self.next():
                    break
        self.close()

    def close(self) -> None:
        """Keep the connection if the body was read to its end, else cut it. Idempotent.

        A `next` in another thread wakes up and raises BrokeOff.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._reading:  # its reader lets go of it: to close a socket under a reader is not safe
                self._connection.cut()
            else:
                self._let_go()

    def _begin(self) -> None:
        with self._lock:
            if self._closed:
                raise BrokeOff("closed")
            self._reading = True

    def _end(self) -> None:
        with self._lock:
            self._reading = False
            if self._closed:
                self._connection.close()

    def _let_go(self) -> None:
        if self._connection.reusable:
            self._keep(self._connection)
        else:
            self._connection.close()
