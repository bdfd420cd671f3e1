"""Rules of a grammar that lead back to themselves, and where the same text leads there in two ways.

llama.cpp keeps a stack for each way to read what was written: of the places that it will go on at. Where one text leads
from a rule back to it in two ways that are to end differently (`s ::= "x" s "a" | "x" s "b"`), each repetition of that
text multiplies the stacks, for as long as a model goes on. So pairs of such stacks are followed here, character by
character, as llama.cpp would. A rule that ends with what it leads back to leaves nothing on its stack, as there.
"""

import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, product
from typing import NamedTuple

from bounds.rules import PLACES, RANGES, Characters, Looks, Stack, Table, TooMuchError, strongly_connected

CROWD = 256  # stacks of one rule's, after so many characters
CROWDED_AFTER = 16
DEEPEST = 48  # places on a stack that is followed
TOLD_APART = 3  # of them, from the top: of pairs that agree in these, one is followed


def multiplies(rules: Mapping[str, Sequence[re.Match[str]]]) -> bool:
    """Whether a text leads a rule back to itself in two ways, or there is too much to follow to tell.

    `rules`: by name, the parts of what each is defined as.
    """
    looks, done = Looks(), set[int]()
    try:
        table = Table(rules, looks)
        if circles := table.circles(done):
            together = set().union(*circles)
            ways = _Ways(table, together)
            if any(ways.crowd(rule) for rule in table.named(together)):
                return True
        while circles:
            looks.take(len(table.at) // PLACES)
            for circle in circles:
                rule = max(table.named(circle), key=lambda rule: sum(rule in table.named_from[each] for each in circle))
                if _Ways(table, circle).multiply(rule):
                    return True
                done.add(rule)  # what leads back to another rule by way of this one was found from here
            circles = table.circles(done)
        return False
    except TooMuchError:
        return True


class _Opened(NamedTuple):
    """What a stack becomes: stacks with what is taken on top."""

    outside: list[Stack]
    inside: list[Stack]  # those that came through the rule that is looked at
    left: set[Stack]  # what was left to do where they came to it


class _Ways:
    """Through the rules of one circle."""

    def __init__(self, table: Table, circle: set[int]) -> None:
        self._table = table
        self._looks = table.looks
        self._looks.take(len(table.at) // PLACES)
        self._leftmost = _leftmost(table, circle)
        self._overlaps: dict[tuple[Stack, Stack], list[tuple[int, int]]] = {}
        inwards = _leading_to(circle, table.named_from)
        self._leads = [False] * len(table.at)  # by place: whether the circle is reached from there on
        for place in range(len(table.at) - 2, -1, -1):
            element = table.at[place]
            if element is not None:
                self._leads[place] = element in inwards or self._leads[place + 1]

    def multiply(self, rule: int) -> bool:
        """Whether a text leads from this rule back to it with things left to do whose order tells what was read.

        Where it does not (`s ::= "x" s | "x" s "a"`) only their number differs, and there is one more stack each time.
        """
        known: dict[Stack, _Opened] = {}
        pairs = deque[tuple[Stack, Stack, bool]]()
        seen = set[tuple[Stack, Stack, bool, bool]]()

        def add(ones: list[Stack], others: list[Stack], *, within: bool) -> None:
            for one, other in self._meeting(ones, others):
                self._looks.take(1)
                same = one == other
                told_apart = TOLD_APART - same - (same and within)  # one stack may still part, and is told by less
                key = (one[-told_apart:], other[-told_apart:], same, within)
                if key not in seen:
                    seen.update((key, (key[1], key[0], same, within)))
                    pairs.append((one, other, within))

        def opened(stack: Stack) -> _Opened:
            taken = stack[:-1] + self._table.after(stack[-1])
            if taken not in known:
                known[taken] = self._opened(taken, rule)
            return known[taken]

        begun = self._begun(rule)
        add(begun, begun, within=False)
        while pairs:
            one, other, within = pairs.popleft()
            first, second = opened(one), opened(other)
            if any(outer + inner != inner + outer for outer, inner in product(first.left, second.left)):
                return True
            if one != other:
                add(first.outside + first.inside, second.outside + second.inside, within=False)
                continue
            # What parts in the rule once more is known. So it is gone through once, and come out of with the same text.
            through = self._through(first.left, rule)
            add(through, through, within=within)
            add(first.outside, first.outside + first.inside, within=within)
            if not within:
                add(first.inside, first.inside, within=True)
        return False

    def crowd(self, rule: int) -> bool:
        """Whether the text that most of the stacks go on with has them be too many soon: rules one within the other."""
        stacks = self._begun(rule)
        for _ in range(CROWDED_AFTER):
            letter = self._favourite(stacks)
            taken = {stack[:-1] + self._table.after(stack[-1]) for stack in stacks if self._takes(stack[-1], letter)}
            stacks = self._through(taken, rule)
            if len(stacks) > CROWD:
                return True
        return False

    def _through(self, left: set[Stack], rule: int) -> list[Stack]:
        found: dict[Stack, None] = {}
        for stack in left:
            opened = self._opened(stack, rule)
            found |= dict.fromkeys(opened.outside + opened.inside)
        return list(found)

    def _meeting(self, ones: list[Stack], others: list[Stack]) -> Iterator[tuple[Stack, Stack]]:
        """Those that a character may be taken by both of."""
        places = tuple(stack[-1] for stack in ones), tuple(stack[-1] for stack in others)
        if places not in self._overlaps:
            pairs = product(range(len(ones)), range(len(others)))
            self._looks.take(len(ones) * len(others) // PLACES)
            self._overlaps[places] = [(at, to) for at, to in pairs if self._overlap(places[0][at], places[1][to])]
        return ((ones[at], others[to]) for at, to in self._overlaps[places])

    def _begun(self, rule: int) -> list[Stack]:
        return self._through({(start,) for start in self._table.starts[rule]}, rule)

    def _favourite(self, stacks: list[Stack]) -> int:
        """The character that most of them take."""
        change = Counter[int]()
        for stack in stacks:
            for low, high in self._ranges(stack[-1]):
                change[low] += 1
                change[high + 1] -= 1
        taking = accumulate(change[letter] for letter in sorted(change))
        return max(zip(taking, sorted(change), strict=True), default=(0, 0))[1]

    def _takes(self, place: int, letter: int) -> bool:
        return any(low <= letter <= high for low, high in self._ranges(place))

    def _ranges(self, place: int) -> Characters:
        ranges = self._table.at[place]
        assert isinstance(ranges, tuple)
        self._looks.take(1 + len(ranges) // RANGES)
        return ranges

    def _opened(self, stack: Stack, rule: int) -> _Opened:
        table = self._table
        outside: dict[Stack, None] = {}
        inside: dict[Stack, None] = {}
        left: set[Stack] = set()
        open_ = [(stack, outside)]
        while open_:
            self._looks.take(1)
            stack, found = open_.pop()
            if not stack or len(stack) > DEEPEST or not any(self._leads[place] for place in stack):
                continue
            place, element = stack[-1], table.at[stack[-1]]
            if element is None:
                open_.append((stack[:-1], found))
            elif place in self._leftmost:
                continue
            elif isinstance(element, int):
                outer = stack[:-1] + table.after(place)
                if element == rule:
                    left.add(outer)
                    found = inside
                open_ += [((*outer, start), found) for start in table.starts[element]]
            else:
                found[stack] = None
        return _Opened(list(outside), list(inside), left)

    def _overlap(self, one: int, other: int) -> bool:
        ranges, others = self._table.at[one], self._table.at[other]
        assert isinstance(ranges, tuple) and isinstance(others, tuple)
        self._looks.take(len(ranges) * len(others) // RANGES)
        return any(low <= high_too and low_too <= high for low, high in ranges for low_too, high_too in others)


def _leftmost(table: Table, circle: set[int]) -> set[int]:
    """Places where a rule leads back to itself before anything is taken, which llama.cpp refuses: not gone through."""
    first: dict[int, list[tuple[int, int]]] = {}  # by rule: those it may begin with, and where
    for rule in circle:
        for start in table.starts[rule]:
            place = start
            while (element := table.at[place]) is not None:
                if isinstance(element, int) and element in circle:
                    first.setdefault(rule, []).append((element, place))
                if element not in table.empty:
                    break
                place += 1
    begins = [{element for element, _ in first.get(rule, ())} for rule in range(len(table.starts))]
    return {
        place
        for around in strongly_connected(begins)
        for rule in around
        for element, place in first.get(rule, ())
        if element in around
    }


def _leading_to(circle: set[int], named: Sequence[set[int]]) -> set[int]:
    naming: dict[int, list[int]] = {}
    for rule, inner in enumerate(named):
        for each in inner:
            naming.setdefault(each, []).append(rule)
    reached, open_ = set(circle), list(circle)
    while open_:
        fresh = [rule for rule in naming.get(open_.pop(), ()) if rule not in reached]
        reached.update(fresh)
        open_ += fresh
    return reached
