"""A text that comes piece by piece, judged in windows by who is asked from afar. Sans-IO.

A window is so many characters. Nothing of it leaves before it was judged; its last ones stay, and are judged again with
what follows: so whatever is no longer than they are is seen whole before any of it leaves. Where windows are depends on
the text alone, so every way of cutting it gives what the whole gives.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from chalicelib.dialects.apply_guardrail import UNIT_CHARACTERS, UNITS_AT_ONCE, Verdict
from guard.bodies import Growth
from guard.rules import Finding
from guard.scanner import Refused

WINDOW = UNIT_CHARACTERS
"""Characters: one unit of text, as AWS bills them."""

OVERLAP = 200
"""Characters at a window's end that are judged again with the next one."""

WIDEST = UNIT_CHARACTERS * UNITS_AT_ONCE

_MASK = re.compile(r"\{[^{}]{1,100}\}")


class Masked(NamedTuple):
    """Where a window was masked, and by what."""

    start: int
    end: int
    by: str


class Windows:
    """Of one text, after the scanner that looks for the tenant's rules in it. Not thread-safe."""

    def __init__(self, ask: Callable[[str], Verdict], cannot_mask: str, inner: Growth | None, size: int) -> None:
        """`ask` judges a window, and raises Refused for one that is blocked.

        `cannot_mask`: the rule of a text that is refused since nobody can say what of it was masked.
        """
        self._ask = ask
        self._cannot_mask = cannot_mask
        self._inner = inner
        self._size = size
        self._wanted = size  # of the next window
        self._held = ""

    def feed(self, piece: str) -> str:
        """What may be released now. Raises Refused, TooCostly."""
        return self._fed(piece, last=False)

    def finish(self, piece: str = "") -> str:
        """The rest, with a last piece. Raises Refused, TooCostly."""
        return self._fed(piece, last=True)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of the scanner before this."""
        return self._inner.findings if self._inner else ()

    def _fed(self, piece: str, *, last: bool) -> str:
        ended: Refused | None = None
        if self._inner is not None:
            try:
                piece = self._inner.finish(piece) if last else self._inner.feed(piece)
            except Refused as refused:  # what came before is judged as an answer's end is
                piece, ended = refused.released, refused
        released = self._judged(piece, last=last or ended is not None)
        if ended is not None:
            raise Refused(ended.rule, released)
        return released

    def _judged(self, text: str, *, last: bool) -> str:
        self._held += text
        released: list[str] = []
        try:
            while len(self._held) >= self._wanted:
                released.append(self._window())
            if last and self._held:
                released.append(self._asked(self._held))
                self._held = ""
        except Refused as refused:
            raise Refused(refused.rule, "".join(released)) from None
        return "".join(released)

    def _asked(self, text: str) -> str:
        """A text to whose end nothing is added. Raises Refused."""
        verdict = self._ask(text)
        if verdict.kind == "passed":
            return text
        if len(verdict.texts) != 1:
            raise Refused(self._cannot_mask, "")
        return verdict.texts[0]

    def _window(self) -> str:
        window, rest = self._held[: self._wanted], self._held[self._wanted :]
        verdict = self._ask(window)
        shown = window if verdict.kind == "passed" else "".join(verdict.texts)
        masked = () if verdict.kind == "passed" else aligned(window, shown, verdict.matches)
        end = None if masked is None else cut(window, masked)
        if masked is None or end is None:  # what was masked reaches to where more of it may come: it is seen with that
            if self._wanted >= WIDEST:
                raise Refused(self._cannot_mask, "")
            self._wanted = min(self._wanted + self._size, WIDEST)
            return ""
        self._wanted = self._size
        self._held = window[end:] + rest
        gained = sum(len(each.by) - (each.end - each.start) for each in masked if each.end <= end)
        return shown[: end + gained]


def cut(window: str, masked: Sequence[Masked]) -> int | None:
    """Up to where a window that was judged leaves: before its last characters, between words, and through nothing that
    was masked. None: nothing of it does."""
    latest = len(window) - OVERLAP
    blank = max(window.rfind(" ", 0, latest), window.rfind("\n", 0, latest)) + 1
    end = blank if blank > latest // 2 else latest
    for each in masked:
        if each.start < end < each.end:
            end = each.start or each.end
    whole_to_the_end = any(each.end == end == len(window) for each in masked)
    return None if end <= 0 or whole_to_the_end else end


def aligned(text: str, shown: str, matches: Sequence[str]) -> tuple[Masked, ...] | None:
    """Which of `matches` stand in `text` where `shown` has `{...}` in the place of them. None: nobody can say."""
    longest_first = sorted(set(matches), key=len, reverse=True)
    found: list[Masked] = []
    at = before = 0
    masks = list(_MASK.finditer(shown))
    for index, mask in enumerate(masks):
        literal = shown[before : mask.start()]
        after = shown[mask.end() : masks[index + 1].start() if index + 1 < len(masks) else len(shown)]
        if not text.startswith(literal, at):
            return None
        at += len(literal)
        before = mask.end()
        candidates = (each for each in (*longest_first, mask[0]) if text.startswith(each, at))
        match = next((each for each in candidates if each and text.startswith(after, at + len(each))), None)
        if match is None:
            return None
        if match != mask[0]:
            found.append(Masked(at, at + len(match), mask[0]))
        at += len(match)
    return tuple(found) if text[at:] == shown[before:] else None
