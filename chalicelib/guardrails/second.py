"""Requests and answers, judged by a second stage after the tenant's rules."""

from collections.abc import Callable
from typing import Any, TypeVar

from chalicelib.guardrails.stage import RULE, TOO_LONG, UNJUDGED, Stage
from chalicelib.guardrails.windows import Windows
from guard.bodies import Judge, NotAllowed, refusal, wholes
from guard.judge import Guard
from guard.scanner import Refused
from guard.tools import Globs

ANSWER_UNJUDGED = "The guardrail that this tenant's answers are judged by did not answer in time. Try again."
PROMPT_UNJUDGED = "The guardrail that this tenant's prompts are judged by did not answer in time. Try again."
TOO_LONG_FOR_IT = "This is longer than what the guardrail of this tenant judges. Send less, or ask for less, at once."

MOST_KNOWN = 100
"""Texts that an answer in chunks repeats beside those that grow; each is judged once."""

T = TypeVar("T")


def judged(walk: Callable[[Judge], T], guard: Guard, stage: Stage) -> T:
    """What `walk` makes of a body, whose texts are all judged together. Raises NotAllowed."""
    met = _Texts(guard)
    before = walk(met)
    if not met.texts:
        return before
    try:
        shown = stage.judged(met.texts)
    except Refused as refused:
        raise not_allowed(refused.rule, guard) from None
    return before if shown == met.texts else walk(_Shown(guard, shown))


def not_allowed(rule: str, guard: Guard) -> NotAllowed:
    told = {UNJUDGED: ANSWER_UNJUDGED, TOO_LONG: TOO_LONG_FOR_IT}.get(rule)
    return NotAllowed(told, rule) if told else refusal(guard, rule)


class SecondJudge(Judge):
    """A Judge of one answer, whose texts pass both stages."""

    def __init__(self, guard: Guard, tools: Globs | None, stage: Stage) -> None:
        super().__init__(guard, "out", tools)
        self._first = Judge(guard, "out", tools)
        self._first.findings = self.findings
        self.reads = True
        self.waits = True
        self._stage = stage
        self._known: dict[str, str] = {}

    def whole(self, data: bytes) -> bytes:
        """A whole answer. Raises NotAllowed, NotUnderstood."""
        data = wholes.judged(data, self._first)
        try:
            return judged(lambda judge: wholes.judged(data, judge), self.guard, self._stage)
        except NotAllowed as refused:
            raise self.refusal(refused.rule) from None

    def scanner(self) -> Windows:
        return self._stage.windows(super().scanner())

    def arguments_scanner(self) -> Windows:
        return self._stage.windows(super().arguments_scanner())

    def refusal(self, rule: str) -> NotAllowed:
        if rule == RULE:
            self.findings[RULE] += 1  # as a rule that refuses is found, once
        return not_allowed(rule, self.guard)

    def _told(self, judge: Any, text: str) -> str:
        text = super()._told(judge, text)
        shown = self._known.get(text)
        if shown is None:
            try:
                (shown,) = self._stage.judged([text])
            except Refused as refused:
                raise self.refusal(refused.rule) from None
            if len(self._known) < MOST_KNOWN:
                self._known[text] = shown
        return shown


class _Texts(Judge):
    """Notes each text of a body."""

    def __init__(self, guard: Guard) -> None:
        super().__init__(guard, "in")  # or out: it judges no text
        self.reads = True
        self.texts: list[str] = []

    def _told(self, _judge: Any, text: str) -> str:
        self.texts.append(text)
        return text


class _Shown(_Texts):
    """Puts in the place of each text what may be shown of it, in the same order."""

    def __init__(self, guard: Guard, shown: list[str]) -> None:
        super().__init__(guard)
        self._shown = iter(shown)

    def _told(self, _judge: Any, text: str) -> str:
        shown = next(self._shown)
        if shown != text:
            self.findings[RULE] += 1
        return shown
