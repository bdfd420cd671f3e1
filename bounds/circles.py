"""Schemas that hold themselves, and where an engine would have to follow several of their forms at once.

While a schema's alternatives begin alike, an engine keeps a stack for each; where both lead back to the choice they
came from, each round doubles them, for as long as a model goes on. What tells them apart before that (a constant `type`
in front, a member of another name) keeps them one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from typing import Any, NamedTuple

MOST = 256  # alternatives of one choice that lead back to it, each compared with each


class _Choice(NamedTuple):
    alternatives: list[Any]
    back: dict[int, set[str]]  # by place: the members of an alternative by which it leads back; "" where it is none


class Circles:
    """Told of the way that a walk through a schema takes; knows of each choice which alternatives lead back to it."""

    def __init__(self) -> None:
        self._way: list[tuple[int, _Choice | None, int, str]] = []  # a target, or a choice and where in it
        self._ends: dict[int, set[int]] = {}  # of targets that were walked through: what they led back to
        self._choices: list[_Choice] = []

    def choice(self, alternatives: list[Any]) -> Iterator[Any]:
        """Each alternative, to be walked through before the next one is taken."""
        choice = _Choice(alternatives, {})
        self._choices.append(choice)
        for place, alternative in enumerate(alternatives):
            self._way.append((0, choice, place, ""))
            yield alternative
            self._way.pop()

    @contextmanager
    def member(self, name: str) -> Iterator[None]:
        """The walk is in this member of the alternative that it is in, if it is the outermost one."""
        at, before = len(self._way) - 1, self._way[-1:]
        for target, choice, place, outer in before:
            if choice is not None and not outer:
                self._way[at] = (target, choice, place, name)
        yield
        self._way[at:] = before

    def enter(self, target: int) -> None:
        self._way.append((target, None, 0, ""))
        self._ends[target] = set()

    def leave(self) -> None:
        self._way.pop()

    def back(self, target: int) -> None:
        """The walk has come to a target that it has been at: on the way still, or through with it."""
        on_the_way = {step[0]: index for index, step in enumerate(self._way) if step[1] is None}
        for end in {target} if target in on_the_way else self._ends.get(target, set()):
            if end not in on_the_way:
                continue
            for walked, choice, place, member in self._way[on_the_way[end] + 1 :]:
                if choice is not None:
                    choice.back.setdefault(place, set()).add(member)
                else:
                    self._ends[walked].add(end)

    def doubling(self) -> bool:
        """Whether two alternatives of a choice lead back to it, and nothing tells them apart before they do."""
        for choice in self._choices:
            if len(choice.back) > MOST:
                return True
            before = [_before(choice.alternatives[place], members) for place, members in choice.back.items()]
            if any(_alike(one, other) for one, other in combinations(before, 2)):
                return True
        return False


def _before(schema: Any, back: set[str]) -> list[tuple[str, frozenset[str] | None]]:
    """The members that are written before one that leads back, with their values where those are constants."""
    found: list[tuple[str, frozenset[str] | None]] = []
    members = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(members, Mapping) or "" in back:
        return found
    required = schema.get("required")
    needed = required if isinstance(required, list) else ()
    for name, inner in members.items():
        if name in back:
            break
        if name in needed:  # another may be left out, and tells nothing
            found.append((name, _constants(inner)))
    return found


def _constants(schema: Any) -> frozenset[str] | None:
    if isinstance(schema, Mapping):
        if "const" in schema:
            return frozenset((repr(schema["const"]),))
        if isinstance(schema.get("enum"), list):
            return frozenset(map(repr, schema["enum"]))
    return None


def _alike(one: list[tuple[str, frozenset[str] | None]], other: list[tuple[str, frozenset[str] | None]]) -> bool:
    for (name, values), (other_name, other_values) in zip(one, other, strict=False):
        if name != other_name:
            return False
        if values is not None and other_values is not None and values.isdisjoint(other_values):
            return False
    return True
