"""RE2, and nothing else of it: https://github.com/google/re2. Whoever imports this imports it.

RE2 makes states of an automaton as a text asks for them, and keeps them in the room that it is given; where they do not
fit it goes without, which takes longer, but never more than the text's length by the pattern's size.
"""

from collections.abc import Callable, Iterable
from typing import Any

import re2

ANYWHERE = re2._re2.RE2.Anchor.UNANCHORED
HERE = re2._re2.RE2.Anchor.ANCHOR_START
_WHOLLY = re2._re2.RE2.Anchor.ANCHOR_BOTH

Find = Callable[[Any, bytes, int, int], list[tuple[int, int]]]
"""Anchor, text, from where, to where; answers (-1, -1) where there is none."""

MOST_STEPS = 25_000
"""Of RE2's program for one pattern; `[a-z]{10}` has some 10, `.{10}` some 80."""

_LEAST_ROOM = 1 << 18  # bytes
_ROOM_FOR_STEP = 600  # bytes: with 480 the packs together have room for all their states


_TOO_LARGE = "is too large; shorten it, or repeat less"


class Unfit(Exception):
    """RE2 does not take a pattern; the text says why, for its author."""


class Automaton:
    """One pattern, longest match first."""

    def __init__(self, pattern: str, steps: int = 0) -> None:
        """`steps`: what is known of its size. Raises Unfit."""
        self.room = max(_LEAST_ROOM, _ROOM_FOR_STEP * steps)
        compiled = _compiled(pattern, self.room)
        self.size: int = max(compiled.ProgramSize(), compiled.ReverseProgramSize())
        if self.size > MOST_STEPS:
            raise Unfit(_TOO_LARGE)
        if self.size * _ROOM_FOR_STEP > self.room:
            self.room = self.size * _ROOM_FOR_STEP
            compiled = _compiled(pattern, self.room)
        self.find: Find = compiled.Match


class Several:
    """Many patterns at once, in one look at the text."""

    def __init__(self, patterns: list[str], steps: int) -> None:
        """`steps`: of all of them. Raises Unfit."""
        self.room = max(_LEAST_ROOM, _ROOM_FOR_STEP * steps)
        self._set = re2._re2.Set(ANYWHERE, _options(self.room))
        self._all = list(range(len(patterns)))
        # An empty pattern always matches. Where it does not, RE2 had no room to look, and says that in no other way.
        for index, pattern in enumerate(["", *patterns]):
            if self._set.Add(pattern.encode()) != index:
                raise Unfit("is not understood by RE2")
        if not self._set.Compile():  # it would crash when used
            raise Unfit(_TOO_LARGE)

    def perhaps(self, text: bytes) -> list[int]:
        """Those that match somewhere, by their index; all, where RE2 cannot say."""
        found = self._set.Match(text)
        if len(found) == 1:
            return []
        return [index - 1 for index in found if index] if 0 in found else self._all


def wholly(patterns: Iterable[str]) -> Callable[[bytes], bool]:
    """Whether one of the patterns matches all of a text. Raises Unfit."""
    find = Automaton(f"(?:{'|'.join(patterns)})").find
    return lambda text: find(_WHOLLY, text, 0, len(text))[0][0] == 0


def _compiled(pattern: str, room: int) -> Any:
    compiled = re2._re2.RE2(pattern.encode(), _options(room))
    if compiled.ok():
        return compiled
    said: str = compiled.error().decode(errors="replace")
    raise Unfit(_TOO_LARGE if "too large" in said else f"is not understood by RE2: {said}")


def _options(room: int) -> Any:
    options = re2.Options()
    options.max_mem = room
    options.log_errors = False  # it would print patterns
    options.longest_match = True
    options.never_capture = True
    return options
