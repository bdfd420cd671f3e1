"""Reads patterns: RE2's syntax, without what nobody needs in a rule. What is not understood here is never run.

https://github.com/google/re2/wiki/Syntax; what is left out is named in docs/guardrails.md.
"""

import re
from typing import NoReturn

from guard.expression import Either, Flagged, Node, One, Place, Repeat, Row

DEEPEST = 30  # groups in groups
MOST_TIMES = 1000  # RE2's own bound of one repetition

_TIMES = re.compile(r"\{(\d{1,5})(?:(,)(\d{1,5})?)?\}")
_FLAGS = re.compile(r"\(\?([ims]*(?:-[ims]+)?)([:)])")
_NAMED = re.compile(r"\(\?P?<[A-Za-z_]\w{0,31}>", re.ASCII)
_CODE = re.compile(r"\\x(?:[0-9A-Fa-f]{2}|\{[0-9A-Fa-f]{1,6}\})")
_KIND = re.compile(r"\\[pP](?:[A-Z]|\{\^?[A-Za-z_]{1,32}\})")
_NAMES_IN_SETS = re.compile(
    r"\[:\^?(?:alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\]"
)
_LOOKS_AROUND = ("(?=", "(?!", "(?<=", "(?<!")


class Misread(Exception):
    """A pattern that cannot be a rule's; the text says what is wrong with it, in plain words."""


def parse(pattern: str) -> Node:
    """Raises Misread."""
    if any("\ud800" <= char <= "\udfff" for char in pattern):
        raise Misread("holds half of a character (a lone surrogate)")
    reader = _Reader(pattern)
    flags = _FLAGS.match(pattern)
    if flags and flags[2] == ")" and flags[1]:
        reader.at = flags.end()
        return Flagged(flags[1], reader.whole())
    return reader.whole()


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self.at = 0

    def whole(self) -> Node:
        node = self._either(0)
        if self.at < len(self._pattern):
            raise Misread("has a `)` without its `(`")
        return node

    def _next(self, text: str) -> bool:
        if self._pattern.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def _either(self, depth: int) -> Node:
        choices = [self._row(depth)]
        while self._next("|"):
            choices.append(self._row(depth))
        return choices[0] if len(choices) == 1 else Either(tuple(choices))

    def _row(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.at < len(self._pattern) and self._pattern[self.at] not in "|)":
            parts.append(self._repeated(depth))
        return parts[0] if len(parts) == 1 else Row(tuple(parts))

    def _repeated(self, depth: int) -> Node:
        part = self._part(depth)
        times = self._times()
        if times is None:
            return part
        if isinstance(part, Place):
            raise Misread("repeats a place, such as `^` or `\\b`")
        self._next("?")  # the longest match counts, however it is asked for
        if self._times() is not None or self._pattern.startswith("?", self.at):
            raise Misread("has two repetitions after one another; put the first into a group")
        return Repeat(part, *times)

    def _times(self) -> tuple[int, int | None] | None:
        for sign, times in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._next(sign):
                return times
        found = _TIMES.match(self._pattern, self.at)
        if not found:
            return None
        self.at = found.end()
        least = int(found[1])
        most = least if not found[2] else int(found[3]) if found[3] else None
        if max(least, most or 0) > MOST_TIMES:
            raise Misread(f"repeats more than {MOST_TIMES:,} times")
        if most is not None and most < least:
            raise Misread(f"repeats at least {least} times and at most {most}")
        return least, most

    def _part(self, depth: int) -> Node:
        char = self._pattern[self.at]
        if char == "(":
            return self._group(depth)
        if char == "[":
            return One(self._set())
        if char == "\\":
            return self._escape()
        if char in "*+?":
            raise Misread(f"has a `{char}` with nothing before it; write `\\{char}` for the character")
        self.at += 1
        if char in "^$":
            return Place(char)
        return One(char if char == "." else literal(char))

    def _group(self, depth: int) -> Node:
        if depth >= DEEPEST:
            raise Misread(f"nests groups more than {DEEPEST} deep")
        flags = ""
        if any(self._pattern.startswith(sign, self.at) for sign in _LOOKS_AROUND):
            raise Misread("looks ahead or behind (`(?=`, `(?!`, `(?<=`, `(?<!`), which is not possible here")
        if found := _FLAGS.match(self._pattern, self.at):
            if found[2] == ")":
                raise Misread("sets flags in its middle; put them at its beginning, or write `(?i:...)`")
            flags = found[1]
            self.at = found.end()
        elif found := _NAMED.match(self._pattern, self.at):
            self.at = found.end()
        elif self._next("(?"):
            raise Misread(
                "has a group of an unknown kind; known are `(...)`, `(?:...)`, `(?i:...)` and `(?P<name>...)`"
            )
        else:
            self.at += 1
        node = self._either(depth + 1)
        if not self._next(")"):
            raise Misread("has a `(` without its `)`")
        return Flagged(flags, node) if flags else node

    def _escape(self) -> Node:
        kind = self._pattern[self.at + 1 : self.at + 2]
        if kind in ("b", "B", "A", "z"):
            self.at += 2
            return Place("\\" + kind)
        return One(self._escaped())

    def _escaped(self) -> str:
        """An escape that stands for one character, as it is written."""
        for form in (_CODE, _KIND):
            if found := form.match(self._pattern, self.at):
                self.at = found.end()
                return found[0]
        kind = self._pattern[self.at + 1 : self.at + 2]
        if not kind:
            raise Misread("ends in a `\\`")
        if kind in "123456789kg":
            self._refuse_reference(kind)
        if kind in "dDwWsSntrfav" or (kind.isascii() and not kind.isalnum()):
            self.at += 2
            return "\\" + kind if kind.isalnum() else literal(kind)
        if kind == "Z":
            raise Misread("has a `\\Z`; the end of the text is `\\z` here")
        raise Misread(f"has an escape that is not known here, `\\{kind}`")

    def _refuse_reference(self, kind: str) -> NoReturn:
        raise Misread(f"refers back to a group (`\\{kind}`), which is not possible here")

    def _set(self) -> str:
        begin = self.at
        self.at += 1
        written = "[" + ("^" if self._next("^") else "")
        if self._next("]"):
            written += r"\]"
        while not self._next("]"):
            if self.at >= len(self._pattern):
                raise Misread(f"has a `[` without its `]`: `{self._pattern[begin : begin + 20]}`")
            if found := _NAMES_IN_SETS.match(self._pattern, self.at):
                written += found[0]
                self.at = found.end()
            elif self._pattern.startswith("[:", self.at):
                raise Misread(f"has a set that is not known here: `{self._pattern[self.at : self.at + 20]}`")
            elif self._pattern[self.at] == "\\":
                written += self._escaped()
            else:
                char = self._pattern[self.at]
                written += char if char == "-" else literal(char)
                self.at += 1
        return written + "]"


def literal(char: str) -> str:
    """How a pattern says this one character, in a set, too."""
    return rf"\x{{{ord(char):x}}}" if char.isascii() and not char.isalnum() else char
