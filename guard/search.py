"""Finds matches in a text that comes piece by piece, and knows up to where no further piece can change them.

**A match** is for each rule, from the left, the leftmost one, of those the longest, and so on behind it. What a pack's
check does not confirm is none, and the search goes on one character further.

**Settled** is the text before the leftmost place at which a match of any rule may have begun and may still grow: that
is asked of RE2, which reads `expression.begun` backwards from the end. Before it, what is found is what is found in the
whole text: so each way of cutting a text gives the same matches. What is kept is never longer than the widest match.

Texts are UTF-8; places are bytes from the beginning of the text.
"""

from typing import NamedTuple

from guard.automaton import ANYWHERE, HERE, Automaton, Find, Several, Unfit
from guard.expression import Node, begun, uncounted, widths, written
from guard.packs import Check


class Pattern(NamedTuple):
    """What is looked for under one rule."""

    node: Node
    check: Check | None = None
    trail: Node | None = None  # one character of what follows a match and belongs to it, as far as it goes
    most: int | None = None  # matches in one text, after which nobody looks for more

    @property
    def endless(self) -> bool:
        """Has no widest match, so that nothing is settled before the end of the text."""
        return widths(self.node)[1] is None


class Match(NamedTuple):
    """Sorted by where it begins, then by the order of rules."""

    begin: int
    rule: int
    end: int
    continues: bool = False  # the trail of a match that was told before


class _One(NamedTuple):
    find: Find
    check: Check | None
    trail: Find | None
    most: int | None


class Patterns:
    """Compiled, for any number of searches in any threads."""

    def __init__(self, patterns: list[Pattern]) -> None:
        """None endless, or all: then they are searched for in whole texts only. Raises Unfit."""
        each = [Automaton(written(pattern.node)) for pattern in patterns]
        trails = [Automaton(f"(?:{written(one.trail)})*") if one.trail else None for one in patterns]
        self.each = [
            _One(automaton.find, pattern.check, trail.find if trail else None, pattern.most)
            for pattern, automaton, trail in zip(patterns, each, trails, strict=True)
        ]
        self.size = sum(automaton.size for automaton in each)
        begins = "|".join(f"(?:{begun(pattern.node)})" for pattern in patterns if not pattern.endless)
        beginnings = Automaton(rf"(?:{begins})\z", 2 * self.size)
        self.begun = beginnings.find
        any_of_them = Several([written(pattern.node) for pattern in patterns], self.size)
        self.perhaps = any_of_them.perhaps
        self.room = beginnings.room + any_of_them.room + sum(one.room for one in (*each, *trails) if one)


NEAR = 24
"""Characters: what is held back of almost all texts, a word or two, has fewer."""


class Near:
    """Asks in one look whether anything in a text matches, and where at its end something may have begun.

    Right where less than NEAR is held back; else some of it need not be, and whoever wants to know asks Patterns. RE2
    makes a state for whatever the end of a text may be the beginning of: where it counts no further, ordinary texts
    need few. Where it does, as for Patterns, they need so many that RE2 makes them over and over.
    """

    def __init__(self, patterns: list[Pattern], size: int) -> None:
        """None endless. `size`: of them all. Raises Unfit."""
        near = [uncounted(pattern.node, NEAR) for pattern in patterns]
        met, begins = ("|".join(f"(?:{how(node)})" for node in near) for how in (written, begun))
        automaton = Automaton(rf"(?:\A\C*(?:{met})\C*|{begins})\z", 3 * size)
        self.room = automaton.room
        self.place = automaton.find
        """0 where something matches, wherever; or else where something may have begun; or else the end."""


def near(patterns: list[Pattern], size: int) -> Near | None:
    """None where they are too large for it."""
    try:
        return Near(patterns, size)
    except Unfit:
        return None


class Search:
    """In one text."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self.held = b""  # what is not settled, behind one character that is
        self.begin = 0  # where `held` begins
        self.settled = 0
        self._next = [0] * len(patterns.each)  # where the search for each rule goes on
        self._left = [one.most for one in patterns.each]  # matches to be found yet
        self._trailing: set[int] = set()  # rules whose match has a trail that went on to the end of what there is

    def text(self, begin: int, end: int) -> bytes:
        return self.held[begin - self.begin : end - self.begin]

    def quiet(self, piece: bytes, near: Near) -> bytes | None:
        """What is settled now, where that is told in one look and nothing matches; None: the piece is to be fed."""
        if self._trailing:
            return None
        at = self.settled - self.begin
        if at > 1:
            self._forget()
            at = self.settled - self.begin
        held = self.held + piece
        upto: int = near.place(ANYWHERE, held, 0, len(held))[0][0]
        if upto < at or upto == 0 or len(held) - upto >= NEAR:
            return None
        self.held, self.settled = held, self.begin + upto
        return held[at:upto]

    def feed(self, piece: bytes, *, last: bool) -> list[Match]:
        """Matches that begin before `settled`, which moves. `held` is still what it was before, with the piece."""
        if self.settled > self.begin:
            self._forget()
        held = self.held = self.held + piece if self.held else piece
        at, end = self.settled - self.begin, len(held)
        upto = end if last else self._patterns.begun(ANYWHERE, held, at, end)[0][0]
        self.settled = self.begin + upto
        found = self._continued() if self._trailing else []
        for rule in self._patterns.perhaps(held) if at < upto else ():
            found += self._of(rule, at, upto)
        if len(found) > 1:
            found.sort()
        return found

    def _of(self, rule: int, at: int, upto: int) -> list[Match]:
        one, held, begin, left = self._patterns.each[rule], self.held, self.begin, self._left[rule]
        place, found = max(self._next[rule] - begin, at), list[Match]()
        while left is None or len(found) < left:
            start, end = one.find(ANYWHERE, held, place, len(held))[0]
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
        if left is not None:
            self._left[rule] = left - len(found)
        return found

    def _trailed(self, rule: int, trail: Find, place: int) -> int:
        end = trail(HERE, self.held, place, len(self.held))[0][1]
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


def _after(text: bytes, place: int) -> int:
    place += 1
    while place < len(text) and text[place] & 0xC0 == 0x80:
        place += 1
    return place
