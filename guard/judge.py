"""A rule set, ready to judge: kept by what the rules are, so that equal ones are compiled once."""

from collections import OrderedDict
from threading import Lock
from typing import Literal

import msgspec

from guard import phrases
from guard.arguments import ArgumentsScanner
from guard.automaton import Unfit
from guard.packs import PACKS
from guard.rules import Action, Direction, Finding, PackUse, Rule, Rules, Topic
from guard.scanner import Allowance, Refused, Scanner, Side, untouched
from guard.search import Pattern, Patterns, near
from guard.syntax import parse
from guard.tools import Globs

KEPT_BYTES = 128 << 20
"""That RE2 may come to use for all the rule sets that are kept; ten patterns may come to use some 7 MB."""

MOST_COUNTED = 100
"""A rule that flags is looked for until it was found so often in one text: 100 means at least 100."""

MOST_ENDLESS_STEPS = 1_000


class Outcome(msgspec.Struct, frozen=True):
    """Of a whole text. Where a rule refuses it, `text` ends before what it refuses."""

    text: str
    findings: tuple[Finding, ...]
    refused: str | None


class Named(msgspec.Struct, frozen=True):
    """What is looked for, under which name, and what then."""

    name: str
    action: Action
    direction: Direction
    pattern: Pattern


class Guard:
    """What one rule set says, for any number of texts, in any threads."""

    def __init__(self, rules: Rules) -> None:
        """Of rules without `problems`; else raises syntax.Misread, automaton.Unfit or KeyError."""
        self.rules = rules
        named = patterns(rules)
        prompts = [each for each in named if each.direction != "out"]
        answers = [each for each in named if each.direction != "in"]
        self._out = _streamed(_side(answers), answers)
        self._in = self._out if prompts == answers else _side(prompts)
        self._tools = Globs(rules.tools)
        self.room = sum(_room(side) for side in {id(side): side for side in (self._in, self._out)}.values())

    def judge(self, text: str, direction: Literal["in", "out"], allowance: Allowance | None = None) -> Outcome:
        """A whole text. Raises TooCostly."""
        side, allowance = self._side(direction), allowance or Allowance()
        if untouched(side, text, allowance):
            return Outcome(text, (), None)
        return _outcome(Scanner(side, allowance), text)

    def judge_json(self, text: str, direction: Literal["in", "out"], allowance: Allowance | None = None) -> Outcome:
        """A whole JSON text, such as a tool's arguments: its strings, and itself. Raises TooCostly."""
        return _outcome(ArgumentsScanner(self._side(direction), allowance or Allowance()), text)

    def scanner(self, allowance: Allowance | None = None) -> Scanner:
        """Of one choice and field of an answer."""
        return Scanner(self._out, allowance or Allowance())

    def arguments_scanner(self, allowance: Allowance | None = None) -> ArgumentsScanner:
        """Of the arguments of one tool's call in an answer."""
        return ArgumentsScanner(self._out, allowance or Allowance())

    def tool_allowed(self, name: str) -> bool:
        return self._tools.allow(name)

    def _side(self, direction: Literal["in", "out"]) -> Side:
        return self._in if direction == "in" else self._out


class _Kept:
    """Rule sets that were used last, within KEPT_BYTES: so that nobody's patterns take everybody's memory."""

    def __init__(self) -> None:
        self._guards: OrderedDict[Rules, Guard] = OrderedDict()
        self._room = 0
        self._lock = Lock()

    def of(self, rules: Rules) -> Guard:
        with self._lock:
            if found := self._guards.get(rules):
                self._guards.move_to_end(rules)
                return found
        made = Guard(rules)  # takes milliseconds; two may do it at once
        with self._lock:
            if (found := self._guards.setdefault(rules, made)) is made:
                self._room += made.room
            while self._room > KEPT_BYTES and len(self._guards) > 1:
                self._room -= self._guards.popitem(last=False)[1].room
        return found


_kept = _Kept()


def compiled(rules: Rules) -> Guard:
    """Of rules without `problems`."""
    return _kept.of(rules)


def patterns(rules: Rules) -> list[Named]:
    """All that a rule set looks for, in its order: of what overlaps and begins at once, the first gives the name."""
    return [
        *(_named(rule, Pattern(parse(rule.pattern))) for rule in rules.rules),
        *(_named(use, _pack(use.name)) for use in rules.pack_uses),
        *(_named(topic, phrases.pattern(topic)) for topic in rules.topics),
    ]


def _named(rule: Rule | PackUse | Topic, pattern: Pattern) -> Named:
    if rule.action == "refuse":
        pattern = pattern._replace(most=1, trail=None)
    elif rule.action == "flag":
        pattern = pattern._replace(most=1 if pattern.endless else MOST_COUNTED)
    return Named(rule.name, rule.action, rule.direction, pattern)


def _pack(name: str) -> Pattern:
    pack = PACKS[name]
    return Pattern(parse(pack.pattern), pack.check, parse(pack.trail) if pack.trail else None)


def _streamed(side: Side, named: list[Named]) -> Side:
    """With what it takes to look at piece after piece."""
    if side.cutting is None:
        return side
    return side._replace(near=near([each.pattern for each in _cutting(named)], side.cutting.size))


def _cutting(named: list[Named]) -> list[Named]:
    return [each for each in named if each.action != "flag" and not each.pattern.endless]


def _side(named: list[Named]) -> Side:
    cutting = _cutting(named)
    flagging = [each for each in named if each.action == "flag" and not each.pattern.endless]
    endless = [each for each in named if each.pattern.endless]
    compiled = [Patterns([each.pattern for each in some]) if some else None for some in (cutting, flagging, endless)]
    if compiled[2] and compiled[2].size > MOST_ENDLESS_STEPS:
        raise Unfit("without an end is too large")
    return Side(
        *(compiled[0], [each.name for each in cutting], compiled[1], [each.name for each in flagging]),
        *(compiled[2], [each.name for each in endless]),
        {each.name for each in named if each.action == "refuse"},
        sum(some.size for some in compiled[:2] if some),
    )


def _room(side: Side) -> int:
    return sum(some.room for some in (side.cutting, side.flagging, side.endless, side.near) if some)


def _outcome(scanner: Scanner | ArgumentsScanner, text: str) -> Outcome:
    try:
        return Outcome(scanner.finish(text), scanner.findings, None)
    except Refused as refused:
        return Outcome(refused.released, scanner.findings, refused.rule)
