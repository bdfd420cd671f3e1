"""One connection to a place: its socket, and what is read off it. Nothing here is thread-safe but `cut`."""

import contextlib
import select
import socket
import ssl
import struct
import time

from chalicelib.http1.dialling import dialled
from chalicelib.http1.failure import BrokeOff, Silent, symptom_of
from chalicelib.http1.parsing import Head, Parsing
from chalicelib.http1.place import Place
from chalicelib.http1.trust import Trust

READ_BYTES = 64 * 1024
_WITH_ITS_HEAD_BYTES = 64 * 1024  # a body up to so long leaves in one piece with its head


class Connection:
    """Dialled when it is made. Raises Unreachable."""

    def __init__(self, place: Place, trust: Trust, connect_s: float) -> None:
        self.answer = Parsing()
        self._socket = dialled(place, trust, connect_s)
        self._tls = place.tls
        self._patience_s: float | None = None
        self._half_sent = False
        self.kept_s = self.looked_s = 0.0  # by who keeps it: since when, and when it was last looked at there
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self.wait_at_most(connect_s)

    def wait_at_most(self, seconds: float) -> None:
        """For each byte sent or received from now on; 0: only what can be done at once."""
        if self._patience_s == seconds:
            return
        self._patience_s = seconds
        if self._tls or not seconds:
            self._socket.settimeout(seconds)
        else:
            # The kernel waits. Python would poll before each call, and let go of the lock that all threads want for it.
            self._socket.settimeout(None)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))

    @property
    def stale(self) -> bool:
        """Between two answers: the other side hung up, or said what nobody asked for (a 408, as some do)."""
        return bool(self._readable.poll(0))

    def ask(self, head: bytes, body: bytes) -> Head:
        """Send a request and read to the end of its answer's head. The head must be whole by the time in which its
        first byte must have come, or soon after. Raises Failed."""
        self.answer.expect()
        unsent = self._send(head, body)
        self._half_sent = unsent is not None
        started_s = time.monotonic()
        while (answered := self.answer.head) is None:
            try:
                self.receive()
            except BrokeOff:
                if unsent is not None:
                    raise BrokeOff(symptom_of(unsent)) from unsent
                raise
            if self.answer.head is None and time.monotonic() - started_s > (self._patience_s or 0):
                raise Silent("slow head")
        return answered

    @property
    def reusable(self) -> bool:
        """Another request may follow: the last answer has ended, and its request was sent to the end."""
        return self.answer.reusable and not self._half_sent

    def receive(self) -> bool:
        """Read once what is there, waiting for it; False if nothing was there in no time. Raises Failed."""
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if self._patience_s:  # so the kernel says that it has waited
                raise Silent("TimeoutError") from None
            return False
        except TimeoutError:
            raise Silent("TimeoutError") from None
        except ssl.SSLEOFError:
            raise BrokeOff("closed early") from None
        except OSError as error:
            raise BrokeOff(symptom_of(error)) from error
        if data:
            self.answer.feed(data)
        else:
            self.answer.feed_end()
        return True

    @property
    def holds_back(self) -> bool:
        """TLS has read more than it gave: the socket does not show that there is something to receive."""
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def cut(self) -> None:
        """Wakes whoever reads, with BrokeOff. From any thread."""
        with contextlib.suppress(OSError):
            # Not SSLSocket's own, which takes the TLS away from under its reader.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def _send(self, head: bytes, body: bytes) -> OSError | None:
        """What kept some of it from being sent, if it may have been read and answered nevertheless."""
        try:
            if len(body) <= _WITH_ITS_HEAD_BYTES:
                self._send_all(head + body)
            else:
                self._send_all(head)
                self._send_all(body)
        except TimeoutError:
            raise Silent("TimeoutError") from None
        except OSError as error:  # who refuses a body hangs up before it has come, but says why
            return error
        return None

    def _send_all(self, data: bytes) -> None:
        sent = 0
        if not self._tls:
            with contextlib.suppress(BlockingIOError):
                sent = self._socket.send(data, socket.MSG_DONTWAIT)
        if sent < len(data):
            self._socket.settimeout(self._patience_s)  # for all of it together, which the kernel cannot count
            self._socket.sendall(memoryview(data)[sent:])


def _timeval(seconds: float) -> bytes:
    """At least the least of it: none would be for ever."""
    return struct.pack("ll", *divmod(max(1, round(seconds * 1_000_000)), 1_000_000))
