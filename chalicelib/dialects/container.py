"""What our inference container understands and says beyond OpenAI's API: custom attributes, and its health."""

import re

import msgspec

from chalicelib.call import Call
from chalicelib.pool import Capacity, Target

_TOKEN_CHARACTERS = 128
_STRANGE = re.compile(r"[^A-Za-z0-9._:-]")


class _Health(msgspec.Struct):
    capacity: int
    in_flight: int
    queue_depth: int
    instance: str = ""


_health = msgspec.json.Decoder(_Health)


def token(value: str) -> str:
    """A value as headers and attributes may hold it: a `;` or a line end would let a caller add his own."""
    return _STRANGE.sub("_", value[:_TOKEN_CHARACTERS])


def attributes_of(call: Call) -> str:
    """CustomAttributes of a call; SageMaker allows 1,024 ASCII characters."""
    return (
        f"op={call.operation};tenant={token(call.tenant_tag)};priority={call.priority};request={token(call.request_id)}"
    )


ENCLAVE_ATTRIBUTES = "op=enclave"
"""CustomAttributes of a question to the enclave."""


def attributes(text: str) -> dict[str, str]:
    """`instance=i-1;queue_ms=12` as a mapping; what is not of this form is dropped."""
    return dict(pair.split("=", 1) for pair in text.split(";") if "=" in pair)


def milliseconds(text: str | None) -> int:
    """A duration as the container writes it; 0 where it did not."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 12 else 0


def capacity(body: bytes, target: Target) -> Capacity:
    """What a healthy target says of itself; what the pool says of it where the target says nothing.

    vLLM answers its health check with an empty body, llama.cpp with `{"status": "ok"}`.
    """
    try:
        health = _health.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Capacity(target.capacity, 0, 0)
    return Capacity(max(health.capacity, 0), max(health.in_flight, 0), max(health.queue_depth, 0), health.instance)
