"""AWS's event streams, the writing half: one frame around each event, as botocore takes them apart. Sans-IO.

A frame is: its length, the length of its headers, the CRC of these two; headers; payload; the CRC of all before it.
https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
"""

import struct
from collections.abc import Mapping
from functools import lru_cache
from zlib import crc32

_AROUND = 16  # bytes of a frame besides headers and payload
_STRING = 7
_KINDS = 64  # of events, that are kept in mind: an answer repeats one or two of them for each token


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
