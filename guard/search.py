"""Finds matches in a text that comes piece by piece, and knows up to where no further piece can change them.

**A match** is for each rule, from the left, the leftmost one, of those the longest, and so on behind it. What
a pack's check does not confirm is none, and the search goes on one character further.

**Settled** is the text before the leftmost place at which a match of any rule may have begun and may still grow: that
is asked of RE2, which reads `expression.begun` backwards from the end. Before it, what is found is what is found in the
whole text: so each way of cutting a text gives the same matches. What is kept is never longer than the widest match.

Texts are UTF-8; places are bytes from the beginning of the text.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import re2

from guard.expression import Node, begun, written

SMALL = 1 << 19  # bytes that RE2 may use for one rule; more states than that are thrown away and made again
LARGE = 1 << 21  # for all rules together

_ANYWHERE = re2._re2.RE2.Anchor.UNANCHORED
_HERE = re2._re2.RE2.Anchor.ANCHOR_START
_WHOLLY = re2._re2.RE2.Anchor.ANCHOR_BOTH


class TooLarge(Exception):
    """RE2 has no room for it."""


class Pattern(NamedTuple):
    """What is looked for under one rule."""

    node: Node
    check: Callable[[bytes], int] | None = None  # how many bytes of a match are truly one; 0: it is none
    trail: Node | None = None  # one character of what follows a match and belongs to it, as far as it goes


class Match(NamedTuple):
    """Sorted by where it begins, then by the order of rules."""

    begin: int
    rule: int
    end: int
    continues: bool = False  # the trail of a match that was told before


class _One(NamedTuple):
    find: "_Find"
    check: Callable[[bytes], int] | None
    trail: "_Find | None"


_Find = Callable[[Any, bytes, int, int], list[tuple[int, int]]]
"""Anchor, text, from where, to where; answers (-1, -1) where there is none."""


class Patterns:
    """Compiled, for any number of searches in any threads. Raises TooLarge."""

    def __init__(self, patterns: list[Pattern], *, streamed: bool) -> None:
        """Only what is streamed has to know how matches begin: then each has a widest match."""
        self.each = [
            _One(
                _compiled(written(pattern.node)).Match,
                pattern.check,
                _compiled(f"(?:{written(pattern.trail)})*").Match if pattern.trail else None,
            )
            for pattern in patterns
        ]
        begins = "|".join(f"(?:{begun(pattern.node)})" for pattern in patterns if streamed)
        self.begun: _Find = _compiled(rf"(?:{begins})\z", LARGE).Match
        self._any = re2._re2.Set(_ANYWHERE, _options(LARGE))
        # An empty pattern always matches. Where it does not, RE2 had no room to look, and says that in no other way.
        for index, pattern in enumerate(["", *(written(pattern.node) for pattern in patterns)]):
            if self._any.Add(pattern.encode()) != index:
                raise TooLarge
        if not self._any.Compile():  # it must not be used then: RE2 would crash
            raise TooLarge
        self._all = list(range(len(patterns)))

    def perhaps(self, text: bytes) -> list[int]:
        """The rules that may have a match there."""
        found = self._any.Match(text)
        if len(found) == 1:
            return []
        return [index - 1 for index in found if index] if 0 in found else self._all


class Search:
    """In one text."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self.held = b""  # what is not settled, behind one character that is
        self.begin = 0  # where `held` begins
        self.settled = 0
        self._next = [0] * len(patterns.each)  # where the search for each rule goes on
        self._trailing: set[int] = set()  # rules whose match has a trail that went on to the end of what there is

    def text(self, begin: int, end: int) -> bytes:
        return self.held[begin - self.begin : end - self.begin]

    def feed(self, piece: bytes, *, last: bool) -> list[Match]:
        """Matches that begin before `settled`, which moves. `held` is still what it was before, with the piece."""
        if self.settled > self.begin:
            self._forget()
        held = self.held = self.held + piece if self.held else piece
        at, end = self.settled - self.begin, len(held)
        upto = end if last else self._patterns.begun(_ANYWHERE, held, at, end)[0][0]
        self.settled = self.begin + upto
        found = self._continued() if self._trailing else []
        for rule in self._patterns.perhaps(held):
            found += self._of(rule, at, upto)
        if len(found) > 1:
            found.sort()
        return found

    def _of(self, rule: int, at: int, upto: int) -> list[Match]:
        one, held, begin = self._patterns.each[rule], self.held, self.begin
        place, found = max(self._next[rule] - begin, at), list[Match]()
        while True:
            start, end = one.find(_ANYWHERE, held, place, len(held))[0]
            if start < 0 or start >= upto:
                break
            if one.check is not None:
                end = start + one.check(held[start:end])
            if end == start:
                place = _after(held, start)
                continue
            place = self._trailed(rule, one.trail, end) if one.trail else end
            found.append(Match(begin + start, rule, begin + place))
        self._next[rule] = begin + place
        return found

    def _trailed(self, rule: int, trail: _Find, place: int) -> int:
        end = trail(_HERE, self.held, place, len(self.held))[0][1]
        if end == len(self.held):
            self._trailing.add(rule)
        return end

    def _continued(self) -> list[Match]:
        rules, self._trailing, found = self._trailing, set(), []
        for rule in rules:
            place, trail = self._next[rule], self._patterns.each[rule].trail
            assert trail
            self._next[rule] = self.begin + self._trailed(rule, trail, place - self.begin)
            found.append(Match(place, rule, self._next[rule], continues=True))
        return found

    def _forget(self) -> None:
        """What is settled, but for its last character, which `\\b` and `^` look back at."""
        keep = self.settled - self.begin - 1
        while keep > 0 and self.held[keep] & 0xC0 == 0x80:
            keep -= 1
        self.held = self.held[keep:]
        self.begin += keep


def fully(patterns: Iterable[str]) -> Callable[[bytes], bool]:
    """Whether one of the patterns matches all of a text. Raises TooLarge."""
    compiled = _compiled(f"(?:{'|'.join(patterns)})", LARGE)
    return lambda text: bool(compiled.Match(_WHOLLY, text, 0, len(text))[0][0] == 0)


def _after(text: bytes, place: int) -> int:
    place += 1
    while place < len(text) and text[place] & 0xC0 == 0x80:
        place += 1
    return place


def _options(max_mem: int) -> Any:
    options = re2.Options()
    options.max_mem = max_mem
    options.log_errors = False  # it would print patterns
    options.longest_match = True
    options.never_capture = True
    return options


def _compiled(pattern: str, max_mem: int = SMALL) -> Any:
    compiled = re2._re2.RE2(pattern.encode(), _options(max_mem))
    if not compiled.ok():
        raise TooLarge(compiled.error())
    return compiled
