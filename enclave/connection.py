"""One connection: frames in turn, each with a deadline as a whole, so that a peer who drips costs its own thread only
for so long."""

import ssl
import time

from sealed.frames import Reader, frame
from sealed.refusal import FrameRefused

FRAME_S = 10.0
_RECORD_BYTES = 16_384  # TLS hands over no more at a time


class Connection:
    """Used by one thread."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._tls = tls
        self._reader = Reader()

    def receive(self, patience_s: float) -> tuple[int, bytes] | None:
        """The next frame; None where the other side has left. It must begin within `patience_s`, and end within 10 s.

        Raises FrameRefused, OSError (TimeoutError among them).
        """
        deadline = time.monotonic() + patience_s
        while received := self._read(deadline):
            if not self._reader.pending:
                deadline = min(deadline, time.monotonic() + FRAME_S)
            frames = list(self._reader.feed(received))
            if frames and (len(frames) > 1 or self._reader.pending):
                raise FrameRefused("Wait for the answer before you send the next frame.")
            if frames:
                return frames[0]
        return None

    def send(self, kind: int, payload: bytes) -> None:
        """Raises FrameRefused, OSError (TimeoutError among them)."""
        deadline = time.monotonic() + FRAME_S
        rest = memoryview(frame(kind, payload))
        while rest:
            self._tls.settimeout(_left(deadline))
            rest = rest[self._tls.send(rest) :]

    def _read(self, deadline: float) -> bytes:
        self._tls.settimeout(_left(deadline))
        return self._tls.recv(_RECORD_BYTES)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
