"""A rule set, ready to judge: kept by what the rules are, so that equal ones are compiled once."""

from functools import lru_cache
from typing import Literal

import msgspec

from guard import phrases
from guard.arguments import ArgumentsScanner
from guard.packs import PACKS
from guard.rules import Action, Direction, Finding, PackUse, Rules
from guard.scanner import Refused, Scanner, Side
from guard.search import Pattern, Patterns
from guard.syntax import parse
from guard.tools import Globs

KEPT = 64  # rule sets


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
        """Of rules without `problems`; else raises syntax.Misread, search.TooLarge or KeyError."""
        self.rules = rules
        named = list(patterns(rules))
        self._in = _side(named, "in")
        self._out = _side(named, "out")
        self._tools = Globs(rules.tools)

    def judge(self, text: str, direction: Literal["in", "out"]) -> Outcome:
        """A whole text."""
        return _outcome(Scanner(self._in if direction == "in" else self._out), text)

    def judge_json(self, text: str, direction: Literal["in", "out"]) -> Outcome:
        """A whole JSON text, such as a tool's arguments: its strings, and itself."""
        return _outcome(ArgumentsScanner(self._in if direction == "in" else self._out), text)

    def scanner(self) -> Scanner:
        """Of one choice and field of an answer."""
        return Scanner(self._out)

    def arguments_scanner(self) -> ArgumentsScanner:
        """Of the arguments of one tool's call in an answer."""
        return ArgumentsScanner(self._out)

    def tool_allowed(self, name: str) -> bool:
        return self._tools.allow(name)


@lru_cache(KEPT)
def compiled(rules: Rules) -> Guard:
    """Of rules without `problems`. Imports re2, the first time."""
    return Guard(rules)


def patterns(rules: Rules) -> list[Named]:
    """All that a rule set looks for, in its order: of what overlaps, the first one gives the name."""
    uses = [PackUse(use) if isinstance(use, str) else use for use in rules.packs]
    return [
        *(Named(rule.name, rule.action, rule.direction, Pattern(parse(rule.pattern))) for rule in rules.rules),
        *(Named(use.name, use.action, use.direction, _pack(use.name)) for use in uses),
        *(Named(topic.name, topic.action, topic.direction, phrases.pattern(topic)) for topic in rules.topics),
    ]


def _pack(name: str) -> Pattern:
    pack = PACKS[name]
    return Pattern(parse(pack.pattern), pack.check, parse(pack.trail) if pack.trail else None)


def _side(named: list[Named], direction: Literal["in", "out"]) -> Side:
    ours = [each for each in named if each.direction in (direction, "both")]
    cutting = [each for each in ours if each.action != "flag"]
    flagging = [each for each in ours if each.action == "flag"]
    streamed = direction == "out"
    return Side(
        [each.name for each in (*cutting, *flagging)],
        {each.name for each in ours if each.action == "refuse"},
        Patterns([each.pattern for each in cutting], streamed=streamed) if cutting else None,
        Patterns([each.pattern for each in flagging], streamed=streamed) if flagging else None,
    )


def _outcome(scanner: Scanner | ArgumentsScanner, text: str) -> Outcome:
    try:
        return Outcome(scanner.finish(text), scanner.findings, None)
    except Refused as refused:
        return Outcome(refused.released, scanner.findings, refused.rule)
