"""A conversation that was kept, put before what is asked now. Pure.

`previous_response_id` names a Response whose input and output come first; an `item_reference` one item of an output,
whose id says which Response it is of.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from chalicelib.dialects.responses.members import member
from chalicelib.refusal import Malformed

Fields = Mapping[str, msgspec.Raw]


class Kept(msgspec.Struct, frozen=True):
    """A Response as it was kept."""

    id: str
    asked: list[msgspec.Raw]  # the items of its input
    answered: list[msgspec.Raw]  # those of its output
    previous: str | None


class _Item(msgspec.Struct):
    type: str | None = None
    id: str | None = None


class _Answered(msgspec.Struct):
    id: str
    output: list[msgspec.Raw]
    previous_response_id: str | None = None


def items_of(fields: Fields) -> list[msgspec.Raw]:
    """The input's; a text is an item of the user's. Raises: Malformed."""
    asked = member(fields, "input", str | list[msgspec.Raw])
    if not isinstance(asked, str):
        return asked or []
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": asked}]}
    return [msgspec.Raw(msgspec.json.encode(message))]


def read(asked: bytes, response: bytes) -> Kept:
    """What `items_of` and the answer were, as they were kept."""
    answered = msgspec.json.decode(response, type=_Answered)
    items = msgspec.json.decode(asked, type=list[msgspec.Raw])
    output = [item.copy() for item in answered.output]  # what else the Response says may be megabytes
    return Kept(answered.id, items, output, answered.previous_response_id)


def responses_of(items: Iterable[msgspec.Raw]) -> set[str]:
    """Which Responses the items refer to. Raises: Malformed."""
    return {_response_of(found) for item in items if (found := _reference(item)) is not None}


def resolved(items: Sequence[msgspec.Raw], kept: Iterable[Kept], instead: str) -> list[msgspec.Raw]:
    """The items, with those that are referred to in place.

    Raises: Malformed, which says what may be done instead where one was not kept.
    """
    wanted = {reference for item in items if (reference := _reference(item)) is not None}
    each = (item for one in kept for item in one.answered)
    known = {name: item for item in each if (name := msgspec.json.decode(item, type=_Item).id) in wanted}
    found = []
    for number, item in enumerate(items):
        reference = _reference(item)
        if reference is not None and reference not in known:
            raise Malformed(
                f"input[{number}]: no item {reference[:64]!r} is kept: {instead}",
                field=f"input[{number}].id",
            )
        found.append(item if reference is None else known[reference])
    return found


def before(earlier: Iterable[Kept], items: Sequence[msgspec.Raw]) -> msgspec.Raw:
    """The `input` that has the whole conversation, the first Response's first."""
    said = [item for each in earlier for item in (*each.asked, *each.answered)]
    return msgspec.Raw(msgspec.json.encode([*said, *items]))


def _reference(item: msgspec.Raw) -> str | None:
    try:
        found = msgspec.json.decode(item, type=_Item)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # wrong in a way that is told where items are read
    return found.id or "" if found.type == "item_reference" else None


def _response_of(reference: str) -> str:
    """Ids of items are `msg_<request>_<number>`, see `output`."""
    _, _, rest = reference.partition("_")
    return f"resp_{rest.rpartition('_')[0]}"
