"""What botocore's service model of bedrock-runtime demands of an operation's body, and in which words AWS refuses it.

Members that are required, lengths, ranges, patterns, enumerations, unions: none is written here, all are read there, so
that a body is refused for whatever AWS has published. Rules that the service model does not hold stand in `rules`.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from emulators.bedrock.refusal import UNREADABLE, BedrockError, invalid

MOST = 10
"""How many places of a body are told at once."""

_TYPES: dict[str, Any] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}


def check(operation: str, body: bytes) -> None:
    """Raises Refused, with every place that is wrong."""
    try:
        members = msgspec.json.decode(body or b"{}")
    except UNREADABLE:
        raise BedrockError("SerializationException", "The request body is not valid JSON.") from None
    found = [each for each, _ in zip(_wrong(_input(operation), members, ""), range(MOST), strict=False)]
    if found:
        errors = "1 validation error" if len(found) == 1 else f"{len(found)} validation errors"
        raise invalid(f"{errors} detected: {'; '.join(found)}")


@cache
def _model() -> Any:
    # When it is first needed: it takes longer to read than all the rest takes to start.
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))


@cache
def _input(operation: str) -> Any:
    return _model().operation_model(operation).input_shape


def _wrong(shape: Any, value: Any, where: str) -> Iterator[str]:
    """What is wrong with a value, one sentence for each place."""
    if shape.type_name == "structure" and getattr(shape, "is_document_type", False):
        return  # any JSON
    mistaken = isinstance(value, bool) and shape.type_name != "boolean"  # Python takes it for a number
    if mistaken or not isinstance(value, _TYPES[shape.type_name]):
        yield _told(where, f"Member must be a {shape.type_name}")
    elif shape.type_name == "structure":
        yield from _wrong_members(shape, value, where)
    elif shape.type_name == "list":
        yield from _wrong_size(shape, len(value), where, "length")
        for index, each in enumerate(value, 1):
            yield from _wrong(shape.member, each, f"{where}.{index}.member")
    elif shape.type_name == "map":
        yield from _wrong_size(shape, len(value), where, "length")
        for name, each in value.items():
            yield from _wrong(shape.key, name, f"{where}.{name}.key")
            yield from _wrong(shape.value, each, f"{where}.{name}.value")
    elif shape.type_name == "string":
        yield from _wrong_size(shape, len(value), where, "length")
        if shape.enum and value not in shape.enum:
            yield _told(where, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
        pattern = shape.metadata.get("pattern")
        if pattern and not re.fullmatch(pattern, value):
            yield _told(where, f"Member must satisfy regular expression pattern: {pattern}")
    elif shape.type_name == "blob":
        yield from _wrong_size(shape, len(value) * 3 // 4, where, "length")
    elif shape.type_name != "boolean":
        yield from _wrong_size(shape, value, where, "value")


def _wrong_members(shape: Any, value: dict[str, Any], where: str) -> Iterator[str]:
    members = {name: each for name, each in shape.members.items() if not each.serialization.get("location")}
    there = {name: each for name, each in value.items() if each is not None}
    for name in shape.required_members:
        if name in members and name not in there:
            yield _told(_joined(where, name), "Member must not be null")
    for name, each in there.items():
        if name in members:
            yield from _wrong(members[name], each, _joined(where, name))
        else:
            yield _told(_joined(where, name), f"Member must be one of: [{', '.join(members)}]")
    if shape.is_tagged_union and len(there) != 1:
        yield _told(where, f"Member must have exactly one of: [{', '.join(members)}]")


def _wrong_size(shape: Any, size: float, where: str, what: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield _told(where, f"Member must have {what} greater than or equal to {least}")
    if most is not None and size > most:
        yield _told(where, f"Member must have {what} less than or equal to {most}")


def _joined(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _told(where: str, what: str) -> str:
    return f"Value at '{where}' failed to satisfy constraint: {what}"
