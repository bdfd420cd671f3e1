"""What may be released of a text that comes piece by piece: every way of cutting it gives what the whole gives.

Never released is a part of a match of a rule that refuses or redacts; held back is only what may still become one.
Matches that overlap are one, under the name of the one that begins first (of those, the first in the rule set).
A text that was refused has one finding: the rule that refused it.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from time import thread_time
from typing import NamedTuple

from guard.rules import Finding
from guard.search import Match, Near, Patterns, Search

PART = 1_024
"""Bytes that are searched at once: with the largest rule sets some 0.3 s at the very worst."""

UNWATCHED = 100_000
"""Bytes by steps of the patterns that are searched without a look at the time: some 3 ms at the very worst."""

MOST_STEPS_AT_ONCE = 100_000_000
"""Bytes of a text by steps of endless patterns: some 3 s at the very worst."""

HALF = re.compile("[\ud800-\udfff]")
"""Half of a character that JSON writes as two escapes, alone."""


Look = Callable[[bytes, bool], bytes]
"""At a piece of a text, be it the last or not; says what is released of it."""


class Refused(Exception):
    """A rule refuses this text. `released` is what may still go out before the refusal."""

    def __init__(self, rule: str, released: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self.released = released


class TooCostly(Exception):
    """RE2 takes too long with these rules and this text; nothing more of it may be released."""


class Allowance:
    """CPU time that may be spent on one request, all its texts together: a second, and two for each megabyte.

    Ordinary rules take some 50 ms for a megabyte. Some, with texts made for them, take a thousand times as long.
    """

    def __init__(self, now_s: Callable[[], float] = thread_time) -> None:
        """`now_s`: CPU time of this thread."""
        self._left_s = 1.0
        self._now_s = now_s

    @property
    def strained(self) -> bool:
        """Whether these rules have taken far longer with this request than ordinary ones do."""
        return self._left_s < 0.98

    @property
    def spent(self) -> bool:
        return self._left_s < 0

    def began_s(self) -> float:
        return self._now_s()

    def spend(self, began_s: float, length: int) -> None:
        """On so many bytes. Raises TooCostly."""
        self._left_s += 2e-6 * length - (self._now_s() - began_s)
        if self._left_s < 0:
            raise TooCostly


class Side(NamedTuple):
    """The rules for one direction, compiled, and their names: those that change a text, and those that only count."""

    cutting: Patterns | None
    cutting_names: list[str]
    flagging: Patterns | None
    flagging_names: list[str]
    endless: Patterns | None  # refuse or flag, in whole texts only
    endless_names: list[str]
    refusing: set[str]
    size: int  # steps of the first two
    near: Near | None = None  # of those that change a text, where texts come piece by piece


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


class Findings:
    """How often each rule was met, in whatever was searched for one outcome."""

    def __init__(self, side: Side) -> None:
        self.each = dict.fromkeys((*side.cutting_names, *side.flagging_names, *side.endless_names), 0)
        self.refused: str | None = None

    def told(self) -> tuple[Finding, ...]:
        if self.refused is not None:
            return (Finding(self.refused, 1),)
        return tuple(Finding(name, count) for name, count in self.each.items() if count)


class Cut:
    """One text, with matches cut out."""

    def __init__(
        self,
        side: Side,
        findings: Findings,
        allowance: Allowance,
        shown: Callable[[Search, int, int], bytes] = Search.text,
    ) -> None:
        """`shown`: how a range of the text that may be released is written."""
        self._side = side
        self._findings = findings
        self._allowance = allowance
        self._shown = shown
        self._covered = 0  # up to where a match that was told goes on
        self._search = Search(side.cutting) if side.cutting else None
        self._flags = Search(side.flagging) if side.flagging else None
        self._unflagged: list[bytes] = []  # what rules that only count have not seen yet
        self._unflagged_bytes = 0
        self._near = side.near if shown is Search.text else None
        self._most_near = UNWATCHED // side.size if side.size else 0  # bytes
        self._whole = b""  # where there are endless patterns

    def feed(self, piece: bytes, *, last: bool) -> bytes:
        """What is released now. Raises Refused, TooCostly."""
        if self._side.endless:
            self._whole += piece
            if last:
                self._look_through(self._side.endless)
        search, released = self._search, None
        if search is None:
            released = piece
        elif self._near and not last and self._may_be_near(search, piece):
            released = search.quiet(piece, self._near)
        if released is None:
            released = self._in_parts(self._cut, piece, last=last)
        if self._flags:
            self._flag_later(piece, last=last)
        return released

    def _may_be_near(self, search: Search, piece: bytes) -> bool:
        return len(search.held) + len(piece) < self._most_near and self._covered <= search.settled

    def count_rest(self) -> None:
        """What came so far, by rules that only count, as far as it may cost."""
        if self._unflagged and self._findings.refused is None and not self._allowance.spent:
            with suppress(TooCostly):
                self._flag(last=False)

    def _flag_later(self, piece: bytes, *, last: bool) -> None:
        """Nobody waits for what is only counted, and one look at many pieces takes less time than many looks."""
        self._unflagged.append(piece)
        self._unflagged_bytes += len(piece)
        if last or self._unflagged_bytes >= PART:
            self._flag(last=last)

    def _flag(self, *, last: bool) -> None:
        pieces, self._unflagged, self._unflagged_bytes = self._unflagged, [], 0
        self._in_parts(self._count_flags, b"".join(pieces), last=last)

    def _in_parts(self, look: Look, text: bytes, *, last: bool) -> bytes:
        """What is released, for whoever releases some."""
        if len(text) <= PART:
            return self._watched(look, text, last=last)
        released: list[bytes] = []
        end = 0
        try:
            while end < len(text):
                begin, end = end, _character(text, end + PART)
                released.append(self._watched(look, text[begin:end], last=last and end == len(text)))
        except Refused as refused:
            raise Refused(refused.rule, b"".join(released).decode() + refused.released) from None
        return b"".join(released)

    def _watched(self, look: Look, piece: bytes, *, last: bool) -> bytes:
        held = max(len(search.held) for search in (self._search, self._flags) if search) if self._side.size else 0
        if (held + len(piece)) * self._side.size < UNWATCHED:
            return look(piece, last)
        began_s = self._allowance.began_s()
        try:
            return look(piece, last)
        finally:
            self._allowance.spend(began_s, len(piece))

    def _cut(self, piece: bytes, last: bool) -> bytes:
        search = self._search
        assert search
        at = search.settled
        found = search.feed(piece, last=last)
        if not found and self._covered <= at:
            return self._shown(search, at, search.settled)
        released = []
        at = max(at, self._covered)
        for match in found:
            name = self._side.cutting_names[match.rule]
            if name in self._side.refusing:
                self._findings.refused = name
                released.append(self._shown(search, at, max(at, match.begin)))
                raise Refused(name, b"".join(released).decode())
            if not match.continues:
                self._findings.each[name] += 1
                if match.begin >= self._covered:
                    released += (self._shown(search, at, match.begin), f"[{name}]".encode())
            self._covered = max(self._covered, match.end)
            at = max(at, self._covered)
        if at < search.settled:
            released.append(self._shown(search, at, search.settled))
        return b"".join(released)

    def _count_flags(self, piece: bytes, last: bool) -> bytes:
        assert self._flags
        self._count(self._flags.feed(piece, last=last), self._side.flagging_names)
        return b""

    def _count(self, found: list[Match], names: list[str]) -> None:
        for match in found:
            self._findings.each[names[match.rule]] += 1

    def _look_through(self, endless: Patterns) -> None:
        """RE2 cannot be stopped, so that the worst is assumed before it begins."""
        if len(self._whole) * endless.size > MOST_STEPS_AT_ONCE:
            raise TooCostly
        names = self._side.endless_names
        found = Search(endless).feed(self._whole, last=True)
        for match in found:
            if names[match.rule] in self._side.refusing:
                self._findings.refused = names[match.rule]
                raise Refused(names[match.rule], "")
        self._count(found, names)


class Scanner:
    """Of one text: one choice and one field of an answer."""

    def __init__(self, side: Side, allowance: Allowance) -> None:
        self._characters = Characters()
        self._found = Findings(side)
        self._cut = Cut(side, self._found, allowance)

    def feed(self, piece: str) -> str:
        """What may be released now. Raises Refused, TooCostly."""
        return self._cut.feed(self._characters.feed(piece, last=False).encode(), last=False).decode()

    def finish(self, piece: str = "") -> str:
        """The rest, with a last piece. Raises Refused, TooCostly."""
        return self._cut.feed(self._characters.feed(piece, last=True).encode(), last=True).decode()

    @property
    def found(self) -> Findings:
        """So far."""
        self._cut.count_rest()
        return self._found

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far."""
        return self.found.told()


def untouched(side: Side, text: str, allowance: Allowance) -> bool:
    """Whether a whole text is short and nothing in it matches, as is told in a look for each kind of rule. Raises
    TooCostly."""
    try:
        written = text.encode()
    except UnicodeEncodeError:  # halves of characters
        return False
    if side.endless or len(written) > PART:
        return False
    if len(written) * side.size < UNWATCHED:
        return _met_by_none(side, written)
    began_s = allowance.began_s()
    none = _met_by_none(side, written)
    allowance.spend(began_s, len(written) if none else 0)  # else it is looked at again
    return none


def _met_by_none(side: Side, text: bytes) -> bool:
    return not any(some.perhaps(text) for some in (side.cutting, side.flagging) if some)


def _character(text: bytes, place: int) -> int:
    """The beginning of the character that is there."""
    while 0 < place < len(text) and text[place] & 0xC0 == 0x80:
        place -= 1
    return min(place, len(text))
