"""The size of a grammar in GBNF and its like (https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md)."""

import re
from collections.abc import Mapping

from bounds.patterns import TIMES, read
from bounds.sizes import CHARACTER, NOTHING, Expression, Size, repeated

_PART = re.compile(
    r"""\#[^\n]*|\s+|(?P<rule>[\w-]+)(?:\[[^\]\n]{0,200}\])?\s*::=|(?P<name>[\w-]+)|(?P<text>"(?:[^"\\\n]|\\.)*"?)"""
    rf"""|\[(?:[^\]\\\n]|\\.)*\]?|<[^>\n]*>|{TIMES.pattern}|.""",
)
_IN_NONE = frozenset("/~%&@'>")


def size_of(grammar: str) -> Size:
    """Of its largest rule, all that it names included. A rule that leads back to itself is measured once.

    Raises TooDeepError.
    """
    rules = _rules(grammar)
    sizes: dict[str, Size] = {}
    for name in _inner_first(rules):
        sizes[name] = _size(rules[name], sizes)
    return Size(
        max(size.positions for size in sizes.values()),
        False,
        max((size.width for size in sizes.values()), key=lambda reach: reach.most),
        max((size.row for size in sizes.values()), key=lambda reach: reach.most),
    )


def multiplies(grammar: str) -> bool:
    """Whether each round of a rule that leads back to itself multiplies what an engine keeps, or nobody can tell."""
    from bounds import recursion  # most that is built is no grammar

    return recursion.multiplies(_rules(grammar))


def is_spelled_right(grammar: str) -> bool:
    """Whether it holds nothing, outside of texts and classes, that no engine takes in GBNF."""
    return not any(part.group() in _IN_NONE for part in _PART.finditer(grammar))


def _rules(grammar: str) -> dict[str, list[re.Match[str]]]:
    """What each rule is defined as, each time after its head; what stands before the first one has no name."""
    present: list[re.Match[str]] = []
    rules = {"": present}
    for part in _PART.finditer(grammar):
        if part["rule"]:
            present = rules.setdefault(part["rule"], [])
            present.append(part)
        elif not part.group().isspace() and not part.group().startswith("#"):
            present.append(part)
    return rules


def _inner_first(rules: dict[str, list[re.Match[str]]]) -> list[str]:
    """The names of all rules, each after those that it names; of a circle one comes before what it names."""
    ordered: dict[str, None] = {}
    begun: set[str] = set()
    for root in rules:
        path = [] if root in begun else [_Step(root, rules)]
        while path:
            begun.add(path[-1].name)
            needed = next((name for name in path[-1].named if name in rules and name not in begun), None)
            if needed is None:
                ordered[path.pop().name] = None
            else:
                path.append(_Step(needed, rules))
    return list(ordered)


class _Step:
    """A rule on the way inwards, and what it names that was not looked at yet."""

    def __init__(self, name: str, rules: Mapping[str, list[re.Match[str]]]) -> None:
        self.name = name
        self.named = (part["name"] for part in rules[name])


def _size(parts: list[re.Match[str]], sizes: dict[str, Size]) -> Size:
    expression = Expression()
    for part in parts:
        if part["rule"]:
            continue
        if part["name"]:
            expression.piece(sizes.get(part["name"], CHARACTER))
        elif part["text"]:
            letters = len(part["text"]) - 2
            expression.piece(repeated(CHARACTER, letters, letters) if letters > 0 else NOTHING)
        else:
            read(expression, part.group())
    return expression.size()
