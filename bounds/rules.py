"""The rules of a grammar in GBNF as llama.cpp lays them out, and which of them lead to each other."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from bounds.patterns import times

LOOKS = 100_000  # at what may come next, for one grammar: half a second
PLACES, RANGES = 10, 10  # gone through in the time of one such look
RULE = 4  # looks, in whose time one is made of a group
COPIES = 8  # of one thing that are told apart; more of them may be any number

Characters = tuple[tuple[int, int], ...]  # ranges, both ends included
Element = int | Characters | None  # a rule by its number, what is taken, or the end of an alternative
Stack = tuple[int, ...]  # places; the one to go on at is the last

_TOKENS = 0x110000  # above all characters
_ANY: Characters = ((0, 2 * _TOKENS),)
_LETTER = re.compile(r"\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\?(.)", re.DOTALL)
_RANGE = re.compile(r"(?P<low>{0})(?:-(?P<high>{0}))?".format(r"\\x..|\\u.{4}|\\U.{8}|\\.|."), re.DOTALL)
_CONTROLS = {r"\n": "\n", r"\r": "\r", r"\t": "\t"}


class TooMuchError(Exception):
    """There are more looks to take than may be taken."""


class Looks:
    """How many may still be taken."""

    def __init__(self) -> None:
        self._left = LOOKS

    def take(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise TooMuchError


class Table:
    """All places of all rules in a row. Groups and repetitions are rules, too."""

    def __init__(self, rules: Mapping[str, Sequence[re.Match[str]]], looks: Looks) -> None:
        self.looks = looks
        self.at: list[Element] = []
        self.starts: list[list[int]] = [[] for _ in rules]  # by rule: where its alternatives begin
        self._numbers = {name: number for number, name in enumerate(rules)}
        self._tokens: dict[str, int] = {}
        for name, parts in rules.items():
            self.starts[self._numbers[name]] = self._written(self._read(parts))
        self.named_from = [set(self._named(starts)) for starts in self.starts]

    @cached_property
    def empty(self) -> set[int]:
        """Rules that may take nothing."""
        empty: set[int] = set()
        before = -1
        while len(empty) > before:
            before = len(empty)
            self.looks.take(len(self.at) // PLACES)
            for rule, starts in enumerate(self.starts):
                if any(all(self.at[place] in empty for place in self._until_end(start)) for start in starts):
                    empty.add(rule)
        return empty

    def after(self, place: int) -> Stack:
        """What is left to do once this place is done with."""
        return () if self.at[place + 1] is None else (place + 1,)

    def circles(self, without: set[int]) -> list[set[int]]:
        """Rules that lead to each other, if one of them leaves something to do when it does."""
        named = [set() if rule in without else inner - without for rule, inner in enumerate(self.named_from)]
        return [circle for circle in strongly_connected(named) if any(self._leaves(rule, circle) for rule in circle)]

    def named(self, circle: set[int]) -> list[int]:
        """Those that were given a name; each way around leads by one."""
        return sorted(rule for rule in circle if rule < len(self._numbers))

    def _leaves(self, rule: int, circle: set[int]) -> bool:
        places = (place for start in self.starts[rule] for place in self._until_end(start))
        return any(self.at[place] in circle and self.after(place) for place in places)

    def _named(self, starts: list[int]) -> Iterator[int]:
        for start in starts:
            for place in self._until_end(start):
                element = self.at[place]
                if isinstance(element, int):
                    yield element

    def _until_end(self, place: int) -> Iterator[int]:
        while self.at[place] is not None:
            yield place
            place += 1

    def _read(self, parts: Sequence[re.Match[str]]) -> list[list[list[Element]]]:
        """Alternatives of pieces, each of what stands in one place after the other."""
        present: list[list[list[Element]]] = [[]]
        outer: list[list[list[list[Element]]]] = []
        negated = False
        for match in parts:
            part = match.group()
            if match["rule"]:  # defined once more: the last definition is what counts
                present, outer = [[]], []
            elif part == "(":
                outer.append(present)
                present = [[]]
            elif part == ")":
                if outer:
                    group, present = self._rule(present), outer.pop()
                    present[-1].append([group])
            elif part == "|":
                present.append([])
            elif repeats := times(part):
                if present[-1]:
                    present[-1][-1] = self._repeated(present[-1][-1], *repeats)
            elif match["text"]:
                present[-1].append([((letter, letter),) for letter in _letters(part[1:].removesuffix('"'))])
            elif part != "!":
                present[-1].append([self._one(match, negated=negated)])
            negated = part == "!"
        while outer:
            group, present = self._rule(present), outer.pop()
            present[-1].append([group])
        return present

    def _one(self, match: re.Match[str], *, negated: bool) -> Element:
        part = match.group()
        if match["name"]:
            return self._numbers.get(part, _ANY)
        if part.startswith("<") and not negated:
            token = _TOKENS + self._tokens.setdefault(part, len(self._tokens))
            return ((token, token),)
        return _class(part) if part.startswith("[") else _ANY

    def _repeated(self, piece: list[Element], least: int, most: int | None) -> list[Element]:
        if not piece or most == 0:
            return []
        one: Element = piece[0] if len(piece) == 1 else self._rule([[piece]])
        repeated = [one] * min(least, COPIES)
        if most is None or most > COPIES:
            number = self._reserved()
            self.starts[number] = self._written([[[one, number]], []])
            return [*repeated, number]
        rest: list[Element] = []
        for _ in range(most - least):
            rest = [self._rule([[[one, *rest]], []])]
        return repeated + rest

    def _rule(self, alternatives: list[list[list[Element]]]) -> int:
        number = self._reserved()
        self.starts[number] = self._written(alternatives)
        return number

    def _reserved(self) -> int:
        self.starts.append([])
        self.looks.take(RULE)
        return len(self.starts) - 1

    def _written(self, alternatives: list[list[list[Element]]]) -> list[int]:
        starts = []
        for pieces in alternatives:
            starts.append(len(self.at))
            for piece in pieces:
                self.at += piece
            self.at.append(None)
        return starts


def strongly_connected(named: Sequence[set[int]]) -> list[set[int]]:
    """Rules that name each other, the one by way of the others (Tarjan's strongly connected components)."""
    order: dict[int, int] = {}
    lowest: dict[int, int] = {}
    waiting: list[int] = []
    circles = []
    for root in range(len(named)):
        path: list[tuple[int, Iterator[int]]] = [(root, iter(named[root]))] if root not in order else []
        while path:
            rule, inner = path[-1]
            if rule not in order:
                order[rule] = lowest[rule] = len(order)
                waiting.append(rule)
            for each in inner:
                if each not in order:
                    path.append((each, iter(named[each])))
                    break
                lowest[rule] = min(lowest[rule], lowest.get(each, lowest[rule]))
            else:
                path.pop()
                if path:
                    outer = path[-1][0]
                    lowest[outer] = min(lowest[outer], lowest[rule])
                if lowest[rule] == order[rule]:
                    circle = set[int]()
                    while rule not in circle:
                        each = waiting.pop()
                        circle.add(each)
                        lowest[each] = len(named)  # of no concern to others
                    if len(circle) > 1 or rule in named[rule]:
                        circles.append(circle)
    return circles


def _letters(text: str) -> list[int]:
    return [_letter(match) for match in _LETTER.finditer(text)]


def _letter(match: re.Match[str]) -> int:
    code = match[1] or match[2] or match[3]
    return int(code, 16) if code else ord(_CONTROLS.get(match.group(), match[4]))


def _class(part: str) -> Characters:
    inner = part[1:].removesuffix("]")
    negated = inner.startswith("^")
    ranges: list[tuple[int, int]] = []
    for match in _RANGE.finditer(inner[negated:]):
        low, high = _letters(match["low"]), _letters(match["high"] or match["low"])
        ranges.append((low[0], high[0]))
    return _without(ranges) if negated else tuple(dict.fromkeys(ranges))


def _without(ranges: Iterable[tuple[int, int]]) -> Characters:
    found, next_ = [], 0
    for low, high in sorted(ranges):
        if low > next_:
            found.append((next_, low - 1))
        next_ = max(next_, high + 1)
    return (*found, (next_, _TOKENS - 1))
