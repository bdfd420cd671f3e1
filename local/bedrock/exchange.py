"""One request to an operation of Bedrock, and the two ways of replying to it."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec


class Request(msgspec.Struct, frozen=True):
    """A request whose caller is known. `parameters` are those of its path, `headers` by lower-case name."""

    operation: str
    region: str
    parameters: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Whole(msgspec.Struct, frozen=True):
    """JSON."""

    body: dict[str, Any]
    status: int = 200
    headers: Mapping[str, str] = {}


class Streamed(msgspec.Struct, frozen=True):
    """Frames of `application/vnd.amazon.eventstream`. Iterating raises ModelBroke where the model broke off."""

    frames: AsyncIterator[bytes]
    headers: Mapping[str, str] = {}


Reply = Whole | Streamed
