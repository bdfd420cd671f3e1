"""The scanner of JSON that comes piece by piece, such as the arguments of a tool's call.

Each string in it (names of members, too) is judged as what a program will read, its escapes undone: `\\u0034` hides no
digit. What is released is what was written, but for matches. The JSON text itself is then judged as a text: that finds
numbers, and matches over several members. What is no JSON is judged in the same way.
"""

import json
import re
from collections import deque

from guard.rules import Finding
from guard.scanner import HALF, Allowance, Characters, Cut, Findings, Refused, Scanner, Side
from guard.search import Search

_STEP = re.compile(
    r'(?P<plain>[^"\\]+)|(?P<end>")'
    r"|(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r'|(?P<escape>\\u[0-9a-fA-F]{4}|\\["\\/bfnrt])|(?P<other>\\)'
)
_UNFINISHED = re.compile(
    r"\\(?:u[0-9a-fA-F]{0,3}|u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?)?\Z"
)


class ArgumentsScanner:
    """Of the arguments of one call."""

    def __init__(self, side: Side, allowance: Allowance) -> None:
        self._side = side
        self._allowance = allowance
        self._characters = Characters()
        self._found = Findings(side)
        self._text = Scanner(side, allowance)
        self._string: Cut | None = None  # the one that is being read
        self._read = 0  # bytes of it, unescaped
        self._escapes: deque[tuple[int, int, bytes]] = deque()  # in it: from where to where, and how it was written
        self._unfinished = ""

    def feed(self, piece: str) -> str:
        """What may be released now. Raises Refused, TooCostly."""
        return self._text.feed(self._strings(self._characters.feed(piece, last=False), last=False))

    def finish(self, piece: str = "") -> str:
        """The rest, with a last piece. Raises Refused, TooCostly."""
        return self._text.finish(self._strings(self._characters.feed(piece, last=True), last=True))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far. A match in a string that is one in the JSON text, too, is counted once."""
        if self._string:
            self._string.count_rest()
        both, text = Findings(self._side), self._text.found
        both.refused = self._found.refused or text.refused
        both.each = {name: max(count, text.each[name]) for name, count in self._found.each.items()}
        return both.told()

    def _strings(self, piece: str, *, last: bool) -> str:
        text, self._unfinished = self._unfinished + piece, ""
        released: list[str] = []
        at = 0
        try:
            while at < len(text):
                at = self._inside(text, at, released, last=last) if self._string else self._outside(text, at, released)
            if last and self._string:
                released.append(self._string.feed(b"", last=True).decode())
        except Refused as refused:
            raise Refused(refused.rule, self._text.finish("".join((*released, refused.released)))) from None
        return "".join(released)

    def _outside(self, text: str, at: int, released: list[str]) -> int:
        quote = text.find('"', at)
        if quote < 0:
            released.append(text[at:])
            return len(text)
        released.append(text[at : quote + 1])
        self._string = Cut(self._side, self._found, self._allowance, self._as_written)
        self._read = 0
        self._escapes.clear()
        return quote + 1

    def _inside(self, text: str, at: int, released: list[str], *, last: bool) -> int:
        """To the end of the string, or of the text."""
        assert self._string
        read: list[bytes] = []
        ended = False
        while at < len(text) and not ended:
            if not last and text[at] == "\\" and _UNFINISHED.match(text, at):
                self._unfinished, at = text[at:], len(text)
                break
            step = _STEP.match(text, at)
            assert step
            at = step.end()
            ended = step.lastgroup == "end"
            if not ended:
                read.append(self._unescaped(step))
        piece = b"".join(read)
        if piece or ended:
            released.append(self._string.feed(piece, last=ended).decode())
        if ended:
            released.append('"')
            self._string = None
        return at

    def _unescaped(self, step: re.Match[str]) -> bytes:
        written = step[0].encode()
        if step.lastgroup in ("pair", "escape"):
            said = HALF.sub("\ufffd", json.loads(f'"{step[0]}"')).encode()
            self._escapes.append((self._read, self._read + len(said), written))
        else:
            said = written
        self._read += len(said)
        return said

    def _as_written(self, search: Search, begin: int, end: int) -> bytes:
        """A range of the string as it was in the JSON text. Asked for from the left to the right."""
        released: list[bytes] = []
        escapes = self._escapes
        while escapes and escapes[0][0] < end:
            place, after, written = escapes.popleft()
            if place >= begin:
                released += (search.text(begin, place), written)
                begin = after
        released.append(search.text(begin, end))
        return b"".join(released)
