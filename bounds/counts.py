"""How much a body holds, counted without decoding it.

llama.cpp keeps an object's members in a list that each new one is compared with, so their number counts squared.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from bounds.exceeded import Exceeded

MEMBERS = 2_048  # of one object
VALUES = 400_000  # in all: an embedding of 2,048 texts may be 300,000 numbers of tokens
DEPTH = 128
MESSAGES = 5_000  # of which a model with a window of a million tokens holds 200 tokens each
TOOLS = 512  # OpenAI takes 128

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
_OBJECTS = re.compile(rb"[{}:]")
_LISTED = {"messages": MESSAGES, "input": MESSAGES, "prompt": MESSAGES, "tools": TOOLS, "functions": TOOLS}
_list = msgspec.json.Decoder(list[msgspec.Raw])


def must_hold(fields: Mapping[str, msgspec.Raw]) -> None:
    """Raises Exceeded. A body that is short, or is so but for its texts, costs a few microseconds."""
    if len(fields) > MEMBERS:
        raise Exceeded("", f"The body has {len(fields):,} members; {MEMBERS:,} are the most. Leave some out.")
    values = 0
    for name, raw in fields.items():
        written = bytes(raw)
        if len(written) <= DEPTH:  # too short to hold too much
            continue
        openings, commas = _marks(written)
        if openings > DEPTH or commas >= MEMBERS:  # maybe in texts alone
            written = _STRING.sub(b'""', written)
            openings, commas = _marks(written)
            if openings > DEPTH:
                _must_be_shallow(name, written)
            if written.count(b":") > MEMBERS:
                _must_be_narrow(name, written)
            if name in _LISTED and openings + written.count(b'""') > _LISTED[name]:
                _must_be_listed(name, raw)
        values += openings + commas
        if values > VALUES:
            raise Exceeded(name, f"The body holds more values than {VALUES:,}, which are the most. Send less at once.")


def _marks(written: bytes) -> tuple[int, int]:
    return written.count(b"{") + written.count(b"["), written.count(b",")


def _must_be_shallow(name: str, written: bytes) -> None:
    depth = 0
    for mark in _found(_BRACKETS, written):
        depth += 1 if mark in b"{[" else -1
        if depth > DEPTH:
            raise Exceeded(name, f"`{name}` is nested more deeply than {DEPTH}, which is the most. Make it flatter.")


def _must_be_narrow(name: str, written: bytes) -> None:
    members = [0]
    for mark in _found(_OBJECTS, written):
        if mark == b"{":
            members.append(0)
        elif mark == b"}":
            members.pop()
        else:
            members[-1] += 1
            if members[-1] > MEMBERS:
                raise Exceeded(
                    name,
                    f"An object in `{name}` has more members than {MEMBERS:,}, which are the most. Send a list.",
                )


def _must_be_listed(name: str, raw: msgspec.Raw) -> None:
    if not bytes(raw).startswith(b"["):
        return
    held = sum(not bytes(each)[:1].isdigit() for each in _list.decode(raw))  # numbers are one text's tokens
    if held > _LISTED[name]:
        raise Exceeded(name, f"`{name}` has {held:,} entries; {_LISTED[name]:,} are the most. Send fewer.")


def _found(marks: re.Pattern[bytes], written: bytes) -> Iterator[bytes]:
    return (found.group() for found in marks.finditer(written))
