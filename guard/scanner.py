"""What may be released of a text that comes piece by piece: every way of cutting it gives what the whole gives.

Never released is a part of a match of a rule that refuses or redacts; held back is only what may still become one.
Matches that overlap are one, under the name of the one that begins first (of those, the first in the rule set).
A text that was refused has one finding: the rule that refused it.
"""

import re
from collections.abc import Callable

from guard.rules import Finding
from guard.search import Patterns, Search

MOST_COUNTED = 100
"""A rule that flags is looked for until it was found so often: 100 means at least 100."""

HALF = re.compile("[\ud800-\udfff]")
"""Half of a character that JSON writes as two escapes, alone."""


class Refused(Exception):
    """A rule refuses this text. `released` is what may still go out before the refusal."""

    def __init__(self, rule: str, released: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self.released = released


class Side:
    """The rules for one direction, compiled: those that change a text, and those that only count."""

    def __init__(
        self, names: list[str], refusing: set[str], cutting: Patterns | None, flagging: Patterns | None
    ) -> None:
        """`names`: of the cutting patterns, then of the flagging ones, each as they are there."""
        self.names = names
        self.refusing = refusing
        self.cutting = cutting
        self.flagging = flagging
        self.first_flag = len(cutting.each) if cutting else 0


class Characters:
    """Texts without halves of characters: JSON may bring two surrogates in two pieces. Lone ones become U+FFFD."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, piece: str, *, last: bool) -> str:
        if not self._half and (piece.isascii() or not HALF.search(piece)):
            return piece
        text, self._half = self._half + piece, ""
        if not last and "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return HALF.sub("\ufffd", text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass"))


class Counts:
    """How often each rule of a side was met, in whatever was searched for one outcome."""

    def __init__(self, side: Side) -> None:
        self._names = side.names
        self.each = [0] * len(side.names)
        self.refused: str | None = None

    def findings(self) -> tuple[Finding, ...]:
        if self.refused is not None:
            return (Finding(self.refused, 1),)
        return tuple(Finding(name, count) for name, count in zip(self._names, self.each, strict=True) if count)


class Cut:
    """One text, with matches cut out."""

    def __init__(self, side: Side, counts: Counts, shown: Callable[[Search, int, int], bytes] = Search.text) -> None:
        """`shown`: how a range of the text that may be released is written."""
        self._side = side
        self._counts = counts
        self._shown = shown
        self._covered = 0  # up to where a match that was told goes on
        self._search = Search(side.cutting) if side.cutting else None
        self._flags = Search(side.flagging) if side.flagging else None

    def feed(self, piece: bytes, *, last: bool) -> bytes:
        """What is released now. Raises Refused."""
        if self._flags:
            self._count(self._flags, piece, last=last)
        search = self._search
        if search is None:
            return piece
        at = search.settled
        found = search.feed(piece, last=last)
        if not found and self._covered <= at:
            return self._shown(search, at, search.settled)
        released = []
        at = max(at, self._covered)
        for match in found:
            name = self._side.names[match.rule]
            if name in self._side.refusing:
                self._counts.refused = name
                released.append(self._shown(search, at, max(at, match.begin)))
                raise Refused(name, b"".join(released).decode())
            if not match.continues:
                self._counts.each[match.rule] += 1
                if match.begin >= self._covered:
                    released += (self._shown(search, at, match.begin), f"[{name}]".encode())
            self._covered = max(self._covered, match.end)
            at = max(at, self._covered)
        if at < search.settled:
            released.append(self._shown(search, at, search.settled))
        return b"".join(released)

    def _count(self, flags: Search, piece: bytes, *, last: bool) -> None:
        counts, first = self._counts.each, self._side.first_flag
        for match in flags.feed(piece, last=last):
            counts[first + match.rule] = min(counts[first + match.rule] + 1, MOST_COUNTED)


class Scanner:
    """Of one text: one choice and one field of an answer."""

    def __init__(self, side: Side) -> None:
        self._characters = Characters()
        self.counts = Counts(side)
        self._cut = Cut(side, self.counts)

    def feed(self, piece: str) -> str:
        """What may be released now. Raises Refused."""
        return self._cut.feed(self._characters.feed(piece, last=False).encode(), last=False).decode()

    def finish(self, piece: str = "") -> str:
        """The rest, with a last piece. Raises Refused."""
        return self._cut.feed(self._characters.feed(piece, last=True).encode(), last=True).decode()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far."""
        return self.counts.findings()
