"""Members of a body that its type does not know, at any depth.

The types of what is stored forbid none: yesterday's gateways and tomorrow's write those documents too. What somebody
sends in is another matter: a member that nobody reads is a wish that is not granted, and they must hear of it.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import inspect

from chalicelib.refusal import Malformed

_LISTS = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)


class Unknown(NamedTuple):
    holder: str  # where the object is that has it, as `limits.rates[0]`; empty: the body itself
    name: str
    known: tuple[str, ...]  # members that the object may have


def must_be_there_once(document: bytes) -> None:
    """Raises Malformed for a member that an object of this JSON has twice: readers take the last of them."""
    json.loads(document, object_pairs_hook=_once)


def unknown_members(body: Any, form: Any) -> Iterator[Unknown]:
    """All of them, of a decoded JSON body that is to be a `form`; whatever else is wrong with it does not matter."""
    return _within(body, inspect.type_info(form), "")


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        name = next(name for name in names if names.count(name) > 1)[:64]
        raise Malformed(f"The member `{name}` is there twice. Send it once.", field=name)
    return found


def _within(value: Any, form: inspect.Type, place: str) -> Iterator[Unknown]:
    for each in form.types if isinstance(form, inspect.UnionType) else (form,):
        if isinstance(each, inspect.Metadata):
            yield from _within(value, each.type, place)
        elif isinstance(value, dict) and isinstance(each, inspect.StructType) and _is_meant(each, value):
            yield from _of_struct(value, each, place)
        elif isinstance(value, dict) and isinstance(each, inspect.DictType):
            for name, inner in value.items():
                yield from _within(inner, each.value_type, _inside(place, name))
        elif isinstance(value, list) and isinstance(each, _LISTS):
            for index, inner in enumerate(value):
                yield from _within(inner, each.item_type, f"{place}[{index}]")


def _of_struct(value: dict[str, Any], form: inspect.StructType, place: str) -> Iterator[Unknown]:
    fields = {field.encode_name: field.type for field in form.fields}
    known = (*fields, *([form.tag_field] if form.tag_field else ()))
    for name, inner in value.items():
        if name not in known:
            yield Unknown(place, name, known)
        elif name in fields:
            yield from _within(inner, fields[name], _inside(place, name))


def _is_meant(form: inspect.StructType, value: dict[str, Any]) -> bool:
    """Of several types, a member says which one it is."""
    return form.tag_field is None or value.get(form.tag_field) == form.tag


def _inside(place: str, name: str) -> str:
    return f"{place}.{name[:64]}" if place else name[:64]
