"""AWS's event streams: one frame around each event, written and taken apart. Sans-IO.

A frame is: its length, the length of its headers, the CRC of these two; headers; payload; the CRC of all before it.
https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
"""

import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from zlib import crc32

import msgspec

HEADERS_BYTES = 128 * 1024
PAYLOAD_BYTES = 24 * 1024 * 1024
"""The most that a frame may hold; AWS's own SDKs read no more of one."""

_AROUND = 16  # bytes of a frame besides headers and payload
_PRELUDE = 12
_STRING = 7
_LENGTHS = {
    0: 0,
    1: 0,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    8: 8,
    9: 16,
}  # of the values of types that have one length
_BYTES = 6
_KINDS = 64  # of events, that are kept in mind: an answer repeats one or two of them for each token


class NotFramed(Exception):
    """The bytes are no event stream, or one with more in a frame than anybody sends."""


class Frame(msgspec.Struct, frozen=True):
    headers: Mapping[str, str]  # those that are texts; no other says what a frame is
    payload: bytes


class Unframing:
    """Frames out of bytes, however they were cut. Not thread-safe."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete; to be read to their end. Raises NotFramed, behind all that is right."""
        held = self._held
        held += data
        at = 0
        try:
            while len(held) - at >= _PRELUDE:
                total, headers, said = struct.unpack_from(">III", held, at)
                if crc32(held[at : at + 8]) != said:
                    raise NotFramed
                if headers > HEADERS_BYTES or not 0 <= total - headers - _AROUND <= PAYLOAD_BYTES:
                    raise NotFramed
                if len(held) - at < total:
                    break
                frame = bytes(held[at : at + total])
                at += total
                yield _unframed(frame, headers)
        finally:
            del held[:at]


def event(kind: str, payload: bytes) -> bytes:
    """An event of this type, with its JSON."""
    return _frame(_told(kind), payload)


def exception(kind: str, payload: bytes) -> bytes:
    """How a stream ends that fails: one of the exceptions that it may have, as `throttlingException`."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return _frame(_headers(headers), payload)


def _frame(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", _AROUND + len(headers) + len(payload), len(headers))
    frame = b"".join((prelude, struct.pack(">I", crc32(prelude)), headers, payload))
    return frame + struct.pack(">I", crc32(frame))


@lru_cache(_KINDS)
def _told(kind: str) -> bytes:
    return _headers({":event-type": kind, ":content-type": "application/json", ":message-type": "event"})


def _headers(values: Mapping[str, str]) -> bytes:
    return b"".join(_header(name.encode(), value.encode()) for name, value in values.items())


def _header(name: bytes, value: bytes) -> bytes:
    return struct.pack(">B", len(name)) + name + struct.pack(">BH", _STRING, len(value)) + value


def _unframed(frame: bytes, headers: int) -> Frame:
    (said,) = struct.unpack_from(">I", frame, len(frame) - 4)
    if crc32(memoryview(frame)[:-4]) != said:
        raise NotFramed
    behind = _PRELUDE + headers
    return Frame(_read(frame[_PRELUDE:behind]), frame[behind:-4])


@lru_cache(_KINDS)
def _read(headers: bytes) -> Mapping[str, str]:
    """Raises NotFramed."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(headers):
            named = at + 1 + headers[at]
            kind = headers[named]
            begin = named + 1
            if kind in (_STRING, _BYTES):
                (length,) = struct.unpack_from(">H", headers, begin)
                begin += 2
            else:
                length = _LENGTHS[kind]
            name, at = headers[at + 1 : named].decode(), begin + length
            if at > len(headers):
                raise NotFramed
            if kind == _STRING:
                found[name] = headers[begin:at].decode()
    except (IndexError, KeyError, struct.error, UnicodeDecodeError):
        raise NotFramed from None
    return found
