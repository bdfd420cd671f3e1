"""What is wrong with a value, in the words of whoever sent it. Read only where something is.

msgspec tells what it met and where ("Invalid enum value 'x' - at `$.limits.rates[0].unit`"), but not which words there
are, and of a pattern it shows the regular expression. The type knows both: its words, and of each pattern the
description that stands beside it in `msgspec.Meta`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from chalicelib.refusal import Malformed

# The value that was sent may be in the text, and hold anything; what follows the last " - at " is ours.
_SAID = re.compile(r"(?P<text>.*?)(?: - at (?P<key>`key` in )?`\$(?P<place>[^`']*)`)?", re.DOTALL)
_LACKS = re.compile(r"Object missing required field `(?P<name>.+)`")
_KNOWS_NOT = re.compile(r"Object contains unknown field `(?P<name>.+)`", re.DOTALL)
_VALUE = re.compile(r"Invalid (?:enum )?value (?P<value>.+)", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[([^\]]*)\]")
_LISTS = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)

LONGEST_VALUE = 64


class Expected(NamedTuple):
    """What may stand at a place."""

    type: inspect.Type
    description: str = ""  # of its pattern

    @property
    def words(self) -> Sequence[Any]:
        return self.type.values if isinstance(self.type, inspect.LiteralType) else ()


def misfit(error: msgspec.ValidationError, form: Any, holder: str) -> Malformed:
    """What msgspec says of a value that is no `form`, with the member that it is about; `holder`: the value's own."""
    said = _SAID.fullmatch(str(error))
    assert said is not None
    text, place = said["text"].removesuffix("."), (said["place"] or "").removeprefix(".")  # some words are sentences
    found = list(_at(place, form))
    if lacking := _LACKS.fullmatch(text):
        field = _inside(place, lacking["name"])
        return Malformed(f"{field} is missing.{_one_of(list(_at(field, form)))}", field=field)
    if unknown := _KNOWS_NOT.fullmatch(text):
        name = unknown["name"][:LONGEST_VALUE]
        known = [field.encode_name for each in found for field in getattr(each.type, "fields", ())]
        text = f"{place or 'The body'} has no member `{name}`. It takes: {', '.join(known)}."
        return Malformed(text, field=_inside(place, name))
    about, place = "this", place or holder
    if said["key"]:
        about, found = "a name in it", list(_keys(found))
    if value := _VALUE.fullmatch(text):
        text = f"{value['value'][:LONGEST_VALUE]} is not known"
    elif "matching regex" in text and (described := [each.description for each in found if each.description]):
        text = f"{about} has to be {described[0]}"
    return Malformed(f"{place}: {text}.{_one_of(found)}" if place else f"{text}.", field=place or None)


def _one_of(found: Sequence[Expected]) -> str:
    words = [str(word) for each in found for word in each.words if word is not None]
    return f" It is one of: {', '.join(dict.fromkeys(words))}." if words else ""


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _at(place: str, form: Any) -> Iterator[Expected]:
    """What the type expects there, as `limits.rates[0].unit`: each of several types that may stand there."""
    found = list(_each(Expected(inspect.type_info(form))))
    for step in _STEP.finditer(f".{place}" if place and place[0] != "[" else place):
        found = [inner for each in found for inner in _within(each.type, step[1])]
    return iter(found)


def _within(form: inspect.Type, name: str | None) -> Iterator[Expected]:
    """What is expected of a member of that name; of an item, where there is none."""
    if name is None and isinstance(form, _LISTS):
        yield from _each(Expected(form.item_type))
    elif name is None and isinstance(form, inspect.DictType):
        yield from _each(Expected(form.value_type))
    elif isinstance(form, inspect.StructType):
        if name == form.tag_field:
            yield Expected(inspect.LiteralType((form.tag,)))
        for field in form.fields:
            if field.encode_name == name:
                yield from _each(Expected(field.type))


def _keys(found: Sequence[Expected]) -> Iterator[Expected]:
    for each in found:
        if isinstance(each.type, inspect.DictType):
            yield from _each(Expected(each.type.key_type))


def _each(expected: Expected) -> Iterator[Expected]:
    """Of a union each type; what is said beside a type goes with it."""
    form = expected.type
    if isinstance(form, inspect.UnionType):
        for each in form.types:
            yield from _each(Expected(each, expected.description))
    elif isinstance(form, inspect.Metadata):
        yield from _each(Expected(form.type, (form.extra_json_schema or {}).get("description", "")))
    else:
        yield expected
