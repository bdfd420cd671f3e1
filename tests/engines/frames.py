"""AWS event-stream frames, written from the format's description and not from our reader."""

import base64
import json
import struct
from zlib import crc32


def frame(payload: bytes, headers: bytes) -> bytes:
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack("!I", crc32(prelude))
    message = prelude + headers + payload
    return message + struct.pack("!I", crc32(message))


def string(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()


def part(payload: bytes) -> bytes:
    headers = string(":event-type", "PayloadPart") + string(":content-type", "application/octet-stream")
    return frame(payload, headers + string(":message-type", "event"))


def exception(kind: str, **members: str) -> bytes:
    headers = string(":exception-type", kind) + string(":content-type", "application/json")
    return frame(json.dumps(members).encode(), headers + string(":message-type", "exception"))


def told(kind: str, **members: object) -> bytes:
    """An event of Bedrock's."""
    headers = string(":event-type", kind) + string(":content-type", "application/json")
    return frame(json.dumps({**members, "p": "abcd"}).encode(), headers + string(":message-type", "event"))


def model_chunk(said: object) -> bytes:
    """A piece of a model's own stream, as InvokeModel tells it."""
    return told("chunk", bytes=base64.b64encode(json.dumps(said).encode()).decode())
