"""What a JSON schema makes an engine build, with the patterns and grammars in it.

The figures of OpenAI's structured outputs are where "enough for real use" comes from: 5,000 properties, 1,000 values of
enumerations (https://platform.openai.com/docs/guides/structured-outputs/supported-schemas).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from bounds import patterns
from bounds.circles import Circles
from bounds.exceeded import Exceeded
from bounds.sizes import CEILING, DEEPEST, Size, TooDeepError

POSITIONS = 250_000  # llama.cpp takes 0.3 s and 75 MB for them
WIDTH = 1_024  # each is a look at the whole vocabulary: 0.2 s at 6,000 tokens, 4 s at 150,000, once for each such value
ROW = 64  # which cost 20 ms for each token
SPELLED = 10_000  # by one pattern or grammar; a third of them may be stacks at the same time
CHOICES = 256  # width of one pattern or grammar, which may come for each token
COPIES = 2_000  # of one thing; llama.cpp takes no more, and says so at once
VALUES = 50_000  # that we look at; 80 kB of real tools have 5,000
LETTERS = 65_536  # of patterns and grammars, likewise
LINKS = 200  # objects within each other, references followed

_SKIPPED = frozenset(("const", "default", "description", "examples", "title", "name", "strict"))
_REPEATED = frozenset(("maxItems", "minItems", "maxLength", "minLength"))
_ROOTS = frozenset(("schema", "parameters", "input_schema", "json", "json_schema", "guided_json", "value"))
_NAMED = frozenset(("properties", "patternProperties", "dependentSchemas", "$defs", "definitions"))
_ALTERNATIVES = frozenset(("anyOf", "oneOf"))
_VALUES = frozenset(("enum", "choice", "guided_choice", "type"))
_GRAMMARS = frozenset(("grammar", "ebnf", "guided_grammar"))
_PATTERNS = frozenset(("pattern", "regex", "guided_regex"))
_WRITTEN = frozenset(("json", "guided_json", "json_schema", "structural_tag", "value"))  # which may be JSON in a text
_TOLD = {  # members that another one beside them tells the kind of: TGI's, and those of OpenAI's tools
    "value": ("type", {"regex": "regex"}),
    "definition": ("syntax", {"regex": "regex", "lark": "grammar"}),
}


class Built(NamedTuple):
    """What an engine makes of a part: see `sizes`."""

    positions: int = 1
    width: int = 1
    row: int = 1


def must_hold(member: str, raw: msgspec.Raw) -> None:
    """Raises Exceeded, if what this member of a body asks for is more than an engine shall build."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return  # as the engine will say
    walk = _Walk(member)
    try:
        built = walk.keyword(member, value, None)
    except TooDeepError:
        raise Exceeded(
            member,
            f"A pattern or grammar in `{member}` has groups within each other more deeply than {DEEPEST}, which is the "
            "most. Give a group inside a name, as a rule, or write it flatter.",
        ) from None
    if walk.circles.doubling():
        raise Exceeded(
            member,
            f"`{member}` has alternatives that begin alike and lead back to the same choice: each round doubles what "
            "the model's engine keeps. Put a member with a constant of its own first in each of them.",
        )
    for size, bound, what, remedy in (
        (built.positions, POSITIONS, "positions in all", "Ask for fewer repetitions and shorter texts"),
        (built.width, WIDTH, "ways to go on at one place", "Name fewer values and alternatives"),
        (built.row, ROW, "things in a row that may be left out", "Repeat nothing that may be empty itself"),
    ):
        if size > bound:
            raise Exceeded(
                member,
                f"`{member}` would have the model's engine build {size:,} {what}; {bound:,} are the most. {remedy}.",
            )


class _Walk:
    """Through one member, once."""

    def __init__(self, member: str) -> None:
        self._member = member
        self._values = 0
        self._letters = 0
        self._depth = 0
        self.circles = Circles()
        self._decoded: list[Any] = []  # held, so that no identity comes again
        self._targets: dict[int, Built] = {}  # of references, by identity; while one is looked at, as if it were small

    def keyword(self, name: str, value: Any, root: Any) -> Built:
        """What a member of this name says in a schema, or around one. `root`: what references begin at."""
        if name in _GRAMMARS and isinstance(value, str):
            return self._grammar(value)
        if name in _PATTERNS and isinstance(value, str):
            self._letters_are(value)
            return self._spelled(patterns.size_of(value))
        if name in _VALUES and isinstance(value, list):
            return Built(sum(len(each) if isinstance(each, str) else 1 for each in value), len(value))
        if name in _REPEATED and isinstance(value, int | float):
            return Built(int(min(max(value, 0), COPIES)))
        if name == "$ref" and isinstance(value, str):
            return self._reference(value, root)
        if name in _SKIPPED:
            return Built()
        if name in _WRITTEN and isinstance(value, str):
            value = _decoded(value)
            self._decoded.append(value)
        if name in _NAMED and isinstance(value, dict):
            return _together([self._named(inner, each, root) for inner, each in value.items()])
        if name in _ALTERNATIVES and isinstance(value, list):
            found = [self._value(each, root) for each in self.circles.choice(value)]
            return _together(found)._replace(width=min(sum(each.width for each in found), CEILING))
        return self._value(value, value if name in _ROOTS else root)

    def _named(self, name: str, value: Any, root: Any) -> Built:
        with self.circles.member(name):
            return self._value(value, root)

    def _value(self, value: Any, root: Any) -> Built:
        if not isinstance(value, dict | list):
            return Built(0)
        self._values += len(value)
        self._must_be_within(self._values, VALUES, "values")
        self._depth += 1
        self._must_be_within(self._depth, LINKS, "objects and references within each other")
        if isinstance(value, list):
            built = _together([self._value(each, root) for each in value])
        else:
            built = _together([self.keyword(_told(name, value), each, root) for name, each in value.items()])
            built = built._replace(positions=built.positions + _left_out(value))
        self._depth -= 1
        return built

    def _grammar(self, text: str) -> Built:
        from bounds import forms, grammars  # most that is built is no grammar

        self._letters_are(text)
        try:
            readings = forms.readings(text)
        except forms.UnknownFormError as unknown:
            raise Exceeded(self._member, f"The grammar in `{self._member}` {unknown}") from None
        built = [self._spelled(grammars.size_of(gbnf)) for gbnf in readings.gbnf]
        if readings.keeps_stacks and grammars.multiplies(text):
            raise Exceeded(
                self._member,
                f"The grammar in `{self._member}` has rules that the same text leads back to in several ways, so "
                "that each round multiplies what the model's engine keeps, or more than can be followed to tell; "
                "one way is the most. Write what alternatives begin with once, before a group of what differs.",
            )
        self._decoded += readings.schemas
        return _together([*built, *(self._value(schema, schema) for schema in readings.schemas)])

    def _letters_are(self, text: str) -> None:
        self._letters += len(text)
        self._must_be_within(self._letters, LETTERS, "letters of patterns and grammars")

    def _spelled(self, size: Size) -> Built:
        if size.positions > SPELLED or size.width.most > CHOICES:
            raise Exceeded(
                self._member,
                f"A pattern or grammar in `{self._member}` spells {size.positions:,} characters, each repetition "
                f"written out, and has {size.width.most:,} ways to go on at one place; {SPELLED:,} and {CHOICES:,} are "
                "the most. Repeat less, and nothing that repeats itself; write alternatives that begin alike as one.",
            )
        return Built(size.positions, max(1, size.width.most), size.row.most)

    def _reference(self, path: str, root: Any) -> Built:
        target = _found(path, root)
        if target is None:
            return Built()
        key = id(target)
        if key in self._targets:
            self.circles.back(key)
        else:
            self._targets[key] = Built()
            self.circles.enter(key)
            self._targets[key] = self._value(target, root)
            self.circles.leave()
        return self._targets[key]._replace(positions=1)  # they are built once, where they stand

    def _must_be_within(self, number: int, bound: int, what: str) -> None:
        if number > bound:
            raise Exceeded(
                self._member, f"`{self._member}` holds more {what} than {bound:,}, which are the most. Make it smaller."
            )


def _told(name: str, beside: Mapping[str, Any]) -> str:
    """What a member of this name is, told by what stands beside it."""
    teller, kinds = _TOLD.get(name, ("", {}))
    kind = beside.get(teller)
    return kinds.get(kind, name) if isinstance(kind, str) else name


def _together(parts: Sequence[Built]) -> Built:
    return Built(
        min(1 + sum(part.positions for part in parts), CEILING),
        max((part.width for part in parts), default=1),
        max((part.row for part in parts), default=1),
    )


def _left_out(schema: Mapping[str, Any]) -> int:
    """Each member that may be left out is followed by any of the later ones, and each such pair is written down."""
    members, required = schema.get("properties"), schema.get("required")
    if not isinstance(members, dict):
        return 0
    needed = {each for each in required if isinstance(each, str)} if isinstance(required, list) else set()
    optional = len(members.keys() - needed)
    return sum(map(len, members)) + optional * (optional + 1) // 2


def _found(path: str, root: Any) -> Any:
    """What a JSON pointer within the same document leads to (RFC 6901); None: nothing here."""
    if not path.startswith("#"):
        return None
    found = root
    for part in path[1:].split("/")[1:]:
        if isinstance(found, dict):
            found = found.get(part.replace("~1", "/").replace("~0", "~"))
        elif isinstance(found, list) and part.isdecimal() and int(part[:9]) < len(found):
            found = found[int(part[:9])]
        else:
            return None
    return found if isinstance(found, dict | list) else None


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
