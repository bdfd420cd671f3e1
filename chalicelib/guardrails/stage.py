"""The second stage: what a guardrail of Bedrock's says of the texts of one prompt, or of one answer.

Of a text that was masked, the mask goes on. Where the guardrail says nothing in time, the tenant's owners have chosen
whether the text is refused (closed) or passes (open).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from chalicelib.dialects.apply_guardrail import UNITS_AT_ONCE, Unanswered, Verdict, units
from chalicelib.guardrails.windows import WIDEST, WINDOW, Windows
from guard.bodies import Growth
from guard.scanner import Refused

RULE = "bedrock"
"""Under which what the guardrail did is counted, beside the names of rules."""
UNJUDGED = "bedrock unanswered"
TOO_LONG = "bedrock too long"

MOST_UNITS = 1_000
"""Of the texts of one prompt or whole answer: 40 calls at least."""
MOST_TEXTS = 100
"""In one call."""
PATIENCE = 2
"""Faults in a row after which an open stage asks no more: a guardrail that is away holds nobody up again and again."""

PASSED = Verdict("passed")


class Stage:
    """Of one prompt or answer. Not thread-safe. What it told, and what that cost, stands in its members."""

    def __init__(self, ask: Callable[[Sequence[str]], Verdict], on_fault: Literal["closed", "open"]) -> None:
        """`ask` raises Unanswered."""
        self._ask = ask
        self._on_fault = on_fault
        self._in_a_row = 0
        self.calls = 0
        self.masked = 0
        self.units: Counter[str] = Counter()  # by kind of policy
        self.faults: Counter[str] = Counter()  # by symptom

    def judged(self, texts: Sequence[str]) -> list[str]:
        """Whole texts, each as it may go on. Raises Refused, by RULE, UNJUDGED or TOO_LONG."""
        if sum(map(units, texts)) > MOST_UNITS:
            raise Refused(TOO_LONG, "")
        shown = list(texts)
        for group in _groups(texts):
            for place, text in zip(group, self._group([texts[place] for place in group]), strict=True):
                shown[place] = text
        return shown

    def asked(self, texts: Sequence[str]) -> Verdict:
        """Of texts that fit into one call. Raises Refused."""
        if self._in_a_row >= PATIENCE or not any(text.strip() for text in texts):
            return PASSED
        try:
            verdict = self._ask(texts)
        except Unanswered as fault:
            self.faults[fault.symptom] += 1
            self._in_a_row += 1
            if self._on_fault == "closed":
                raise Refused(UNJUDGED, "") from None
            return PASSED
        self._in_a_row = 0
        self.calls += 1
        self.units.update(verdict.units)
        if verdict.kind == "blocked":
            raise Refused(RULE, "")
        self.masked += len(verdict.matches)
        return verdict

    def windows(self, inner: Growth | None = None, size: int = WINDOW) -> Windows:
        """Of one text, that comes from `inner` where it has passed the tenant's rules."""
        return Windows(lambda window: self.asked([window]), RULE, inner, size)

    def _group(self, texts: list[str]) -> Sequence[str]:
        if units(texts[0]) > UNITS_AT_ONCE:
            (long,) = texts
            return [self.windows(size=WIDEST).finish(long)]
        verdict = self.asked(texts)
        if verdict.kind == "passed":
            return texts
        if len(verdict.texts) == len(texts):
            return verdict.texts
        if len(texts) == 1:
            raise Refused(RULE, "")
        # Which mask belongs to which text, nobody can say.
        return [each for text in texts for each in self._group([text])]


def _groups(texts: Sequence[str]) -> Iterator[list[int]]:
    """Places of texts that fit into one call together; of one that does not, alone. Blank ones are not asked about."""
    group: list[int] = []
    size = 0
    for place, text in enumerate(texts):
        if not text.strip():
            continue
        if group and (size + units(text) > UNITS_AT_ONCE or len(group) >= MOST_TEXTS):
            yield group
            group, size = [], 0
        group.append(place)
        size += units(text)
    if group:
        yield group
