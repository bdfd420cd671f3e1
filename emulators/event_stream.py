"""The framing `application/vnd.amazon.eventstream`, the writing half.

A message is: total length, headers length, CRC of these two; headers; payload; CRC of all before it.
A header is: name length (1 byte), name, type (7: string), value length (2 bytes), value.
"""

import json
import struct
from collections.abc import Mapping
from zlib import crc32

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_STRING = 7


def payload_part(content: bytes) -> bytes:
    """An event `PayloadPart` that carries what the model said."""
    return _message(
        {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}, content
    )


def exception(kind: str, members: Mapping[str, str]) -> bytes:
    """An exception event; botocore raises it from the stream as an EventStreamError of code `kind`."""
    return _message(
        {":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"},
        json.dumps(members).encode(),
    )


def _message(headers: Mapping[str, str], payload: bytes) -> bytes:
    encoded = b"".join(_header(name, value) for name, value in headers.items())
    total = 12 + len(encoded) + len(payload) + 4
    prelude = struct.pack(">II", total, len(encoded))
    message = prelude + struct.pack(">I", crc32(prelude)) + encoded + payload
    return message + struct.pack(">I", crc32(message))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", _STRING, len(text)) + text
