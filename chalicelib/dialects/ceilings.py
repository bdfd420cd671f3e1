"""Where a request says how many tokens its answer may have: said once, for reading it and for bounding it. Pure.

A ceiling that is read is reserved; one that is bounded is in force. So both go by the same rows: what a caller may say
in two ways is read where it stands, and bounded there.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from chalicelib.refusal import Malformed

Location = tuple[str, ...]
"""The names of a body's members, from the outside in."""

Fields = Mapping[str, msgspec.Raw]

CHAT: tuple[Location, ...] = (("max_completion_tokens",), ("max_tokens",))
"""Of an OpenAI-shaped body. The first that is there counts, as OpenAI has it."""

RESPONSE: tuple[Location, ...] = (("max_output_tokens",),)
"""Of a Response's. It is asked as a chat, and bounded as one."""

UNREAD = ("max_new_tokens", "n_predict", "n_cmpl")
"""What servers know these and `n` by besides: llama.cpp lets `n_predict` count more than `max_tokens`. Never sent."""

OF_CHAT = frozenset((*(name for (name,) in CHAT), *UNREAD))
OF_RESPONSE = frozenset(name for (name,) in RESPONSE)

BODIES: dict[str, tuple[Location, ...]] = {
    "ai21.jamba": (("max_tokens",),),
    "amazon.nova": (("inferenceConfig", "maxTokens"), ("inferenceConfig", "max_new_tokens")),
    "amazon.titan-text": (("textGenerationConfig", "maxTokenCount"),),
    "anthropic.": (("max_tokens",),),
    "cohere.command": (("max_tokens",),),
    "deepseek.": (("max_tokens",),),
    "meta.": (("max_gen_len",),),
    "mistral.": (("max_tokens",),),
    "openai.": (("max_completion_tokens",), ("max_tokens",)),
    "qwen.": (("max_tokens",),),
    "twelvelabs.pegasus": (("maxOutputTokens",),),
    "writer.": (("max_tokens",),),
}
"""Of a Bedrock model's own body, by how the model's id begins. Where none is there, the first is written."""

ANY: tuple[Location, ...] = tuple(dict.fromkeys(location for row in BODIES.values() for location in row))
"""Of the body of a model that nobody here knows: whatever is there. Where none is, none can be written."""

CONVERSE: Location = ("inferenceConfig", "maxTokens")
EXTRAS = "additionalModelRequestFields"
"""Of Converse: what goes to the model itself, which may have a name of its own for its ceiling."""
IN_EXTRAS: tuple[Location, ...] = (*ANY, ("max_new_tokens",), ("max_tokens_to_sample",))

THOUGHT: Location = ("thinking", "budget_tokens")
"""Of Claude's body and of Converse's extras: how much of the ceiling may be thought. Claude wants it below the ceiling.

https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html
"""

_Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
_count: msgspec.json.Decoder[int | None] = msgspec.json.Decoder(_Count | None)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def of_chat(fields: Fields) -> int | None:
    """The ceiling that an OpenAI-shaped body names. Raises Malformed."""
    return _first(fields, CHAT)


def of_response(fields: Fields) -> int | None:
    """The ceiling that a Response's request names. Raises Malformed."""
    return _first(fields, RESPONSE)


def of_message(fields: Fields) -> int | None:
    """The ceiling that a Message's request names. Raises Malformed."""
    return _first(fields, BODIES["anthropic."])


def bound_chat(body: dict[str, object], ceiling_tokens: int) -> None:
    """Put the reserved ceiling in force, whatever the body named."""
    for name in OF_CHAT:
        body.pop(name, None)
    body["max_tokens"] = ceiling_tokens


def of_body(body: bytes, model: str) -> int | None:
    """The ceiling that a Bedrock model's own body names: the largest, where it does so twice. Raises Malformed."""
    fields = _object(body)
    counts = (_read(fields, location) for location in _locations(model))
    return max((count for count in counts if count is not None), default=None)


def of_thought(fields: Fields) -> int:
    """How many tokens may be thought; 0 where none are said. Raises Malformed."""
    return _read(fields, THOUGHT) or 0


def with_thought_below(fields: Fields, ceiling_tokens: int) -> dict[str, msgspec.Raw]:
    """With a budget for thinking that fits into a ceiling which was lowered. Raises Malformed."""
    if of_thought(fields) < ceiling_tokens:
        return {**fields}
    outer, name = THOUGHT
    thinking = {**_object(fields[outer], outer), name: ceiling_tokens - 1}
    return {**fields, outer: msgspec.Raw(msgspec.json.encode(thinking))}


def bounded_body(body: bytes, model: str, ceiling_tokens: int) -> bytes:
    """The body with the reserved ceiling in force, where it is known how the model is told. Raises Malformed."""
    fields = _object(body)
    locations = _locations(model)
    there = [location for location in locations if _read(fields, location) is not None]
    written = there or ([] if locations is ANY else [locations[0]])
    if not written:
        return body
    lowered = any((_read(fields, location) or 0) > ceiling_tokens for location in there)
    bounded: dict[str, Any] = with_thought_below(fields, ceiling_tokens) if lowered else {**fields}
    for location in written:
        *outer, name = location
        holder = bounded
        for each in outer:
            held = holder.get(each, b"{}")
            holder[each] = held if isinstance(held, dict) else _object(held, each)
            holder = holder[each]
        holder[name] = min(_read(fields, location) or ceiling_tokens, ceiling_tokens)
    return msgspec.json.encode(bounded)


def _first(fields: Fields, locations: tuple[Location, ...]) -> int | None:
    return next((count for location in locations if (count := _read(fields, location)) is not None), None)


def of_converse(body: bytes) -> int | None:
    """The ceiling that a Converse request names: the largest, where it does so twice. Raises Malformed."""
    fields = _object(body)
    locations = (CONVERSE, *((EXTRAS, *location) for location in IN_EXTRAS))
    counts = (_read(fields, location) for location in locations)
    return max((count for count in counts if count is not None), default=None)


def bounded_converse(body: bytes, ceiling_tokens: int) -> bytes:
    """The request with the reserved ceiling in force: said where Converse has it, and nowhere besides.

    Whatever a model makes of two, or of one by another's name, is not left to it. Raises Malformed.
    """
    lowered = (of_converse(body) or 0) > ceiling_tokens
    fields = _object(body)
    if EXTRAS in fields:
        for location in IN_EXTRAS:
            fields = _without(fields, (EXTRAS, *location))
        if lowered and bytes(fields[EXTRAS]).startswith(b"{"):
            extras = with_thought_below(_object(fields[EXTRAS], EXTRAS), ceiling_tokens)
            fields[EXTRAS] = msgspec.Raw(msgspec.json.encode(extras))
    outer, name = CONVERSE
    config = _object(fields.get(outer, msgspec.Raw(b"{}")), outer)
    return msgspec.json.encode({**fields, outer: {**config, name: ceiling_tokens}})


def _without(fields: dict[str, msgspec.Raw], location: Location) -> dict[str, msgspec.Raw]:
    name, *inner = location
    if name not in fields:
        return fields
    held = fields[name]
    rest = {each: value for each, value in fields.items() if each != name}
    if not inner:
        return rest
    if not bytes(held).startswith(b"{"):
        return fields  # what it is instead, Bedrock may say
    return {**rest, name: msgspec.Raw(msgspec.json.encode(_without(_object(held, name), tuple(inner))))}


def _locations(model: str) -> tuple[Location, ...]:
    # An inference profile, or an ARN, holds the model's id behind a dot or a slash.
    found = (locations for start, locations in BODIES.items() if re.search(rf"(^|[./]){re.escape(start)}", model))
    return next(found, ANY)


def _read(fields: Fields, location: Location) -> int | None:
    *outer, name = location
    for each in outer:
        held = bytes(fields.get(each, b"{}"))
        if not held.startswith(b"{"):
            return None  # not this model's; what it is instead, the model may say
        fields = _object(held, each)
    if name not in fields:
        return None
    try:
        return _count.decode(fields[name])
    except msgspec.ValidationError as error:
        where = ".".join(location)
        raise Malformed(f"{where}: {error}.", field=where) from None


def _object(body: bytes | msgspec.Raw, name: str = "body") -> dict[str, msgspec.Raw]:
    try:
        return _members.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed(f"`{name}` is not the JSON object that a model takes.", field=name) from None
