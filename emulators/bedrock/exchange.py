"""One request to an operation of Bedrock, and the two ways of replying to it."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import msgspec

from emulators.bedrock.refusal import UNREADABLE, BedrockError, invalid_member

Parameters = TypeVar("Parameters", bound=msgspec.Struct)


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


def parameters(body: bytes, kind: type[Parameters]) -> Parameters:
    """The members of an operation's JSON body. Raises Refused."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise invalid_member(error) from None
    except UNREADABLE:
        raise BedrockError("SerializationException", "The request body is not valid JSON.") from None
