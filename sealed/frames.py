"""Framing, sans-IO: a length, a type, a payload. Between container and enclave, and between gateway and container.

    u32, big-endian: length of what follows, 1 to MOST_BYTES | u8: type | payload

A length is judged as soon as its four bytes are there: nothing is held on the word of a sender who lies.
"""

import struct
from collections.abc import Iterator

from .refusal import FrameRefused

MOST_BYTES = 8 * 2**20  # of type and payload together

_LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">IB")


def frame(kind: int, payload: bytes) -> bytes:
    """One frame, ready to be sent. `kind` is 0 to 255.

    Raises: FrameRefused when the payload is longer than a frame may carry.
    """
    if len(payload) >= MOST_BYTES:
        raise FrameRefused(f"A frame carries at most {MOST_BYTES - 1} bytes: send the payload in pieces.")
    return _HEAD.pack(1 + len(payload), kind) + payload


class Reader:
    """Reads one stream of frames, however it was cut. Not thread-safe."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def pending(self) -> bool:
        """Bytes of an unfinished frame are held: a stream that ends now was cut."""
        return bool(self._held)

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take these bytes, and yield (type, payload) of each frame that they complete.

        The frames are read as they are asked for, so that those ahead of a bad one are not lost.
        Raises: FrameRefused. The stream is of no use after it.
        """
        self._held += data
        return self._complete()

    def _complete(self) -> Iterator[tuple[int, bytes]]:
        while len(self._held) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held)
            if not 1 <= length <= MOST_BYTES:
                raise FrameRefused(f"A frame is 1 to {MOST_BYTES} bytes long; this one claims {length}.")
            end = _LENGTH.size + length
            if len(self._held) < end:
                return
            kind, payload = self._held[_LENGTH.size], bytes(self._held[_HEAD.size : end])
            del self._held[:end]
            yield kind, payload
