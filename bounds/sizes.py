"""How large an expression becomes when an engine builds it: an algebra of sequences, alternatives and repetitions.

An engine's table has a *position* for each character that the expression spells, every copy that a repetition asks for
included. While it generates, it keeps a stack for each position that may come next: how many those are at most is the
expression's *width*. What lies in a row and may be left out has to be stepped over, each time and for each stack: that
is its *row*, and the time goes with its third power (`(a|a)*` 200 times: 0.5 s; 2,000 times: minutes).
"""

from typing import NamedTuple

CEILING = 10**12
"""Sizes are not told apart above."""
DEEPEST = 200
"""Groups within each other: engines call themselves for each, on a stack that ends."""


class TooDeepError(Exception):
    """Groups are within each other more deeply than DEEPEST."""


class Reach(NamedTuple):
    """How many may come next: at the expression's start, after where it may end, and anywhere in it."""

    first: int
    after: int
    most: int


class Size(NamedTuple):
    positions: int
    empty: bool  # whether it may be left out
    width: Reach
    row: Reach


NOTHING = Size(0, True, Reach(0, 0, 0), Reach(0, 0, 0))
CHARACTER = Size(1, False, Reach(1, 0, 1), Reach(1, 0, 1))


def then(one: Size, other: Size) -> Size:
    """The one, and then the other."""
    return Size(
        min(one.positions + other.positions, CEILING),
        one.empty and other.empty,
        _then(one.width, other.width, one.empty, other.empty),
        _then(one.row, other.row, one.empty, other.empty),
    )


def either(one: Size, other: Size) -> Size:
    """The one or the other."""
    width, row = zip(one.width, other.width, strict=True), zip(one.row, other.row, strict=True)
    firsts, afters, mosts = width
    return Size(
        min(one.positions + other.positions, CEILING),
        one.empty or other.empty,
        Reach(min(sum(firsts), CEILING), max(afters), max(*mosts, sum(firsts))),
        Reach(*(max(pair) for pair in row)),
    )


def repeated(size: Size, least: int, most: int | None) -> Size:
    """So many times; `most` None: without an end. Of what is asked for no times an engine reads one all the same."""
    copies = max(most if most is not None else least + 1, 1)
    return Size(
        min(size.positions * copies, CEILING),
        least == 0 or size.empty,
        _repeated(size.width, copies, size.empty, single=copies == 1),
        _repeated(size.row, copies, size.empty, single=copies == 1),
    )


def _then(one: Reach, other: Reach, one_empty: bool, other_empty: bool) -> Reach:
    next_to_it = min(one.after + other.first, CEILING)
    first = min(one.first + other.first, CEILING) if one_empty else one.first
    after = max(other.after, next_to_it) if other_empty else other.after
    return Reach(first, after, max(one.most, other.most, next_to_it, first))


def _repeated(reach: Reach, copies: int, empty: bool, *, single: bool) -> Reach:
    if single:
        return reach
    # Copies that may be empty are stepped over, all of them; of others only the next one is near.
    near = min(reach.first * (copies if empty else 1), CEILING)
    after = min(reach.after + near, CEILING)
    return Reach(near, after, max(reach.most, after, near))


class Expression:
    """Reads an expression from left to right: what stands in it, and how often the last of it is meant."""

    def __init__(self) -> None:
        self._before: Size | None = None  # the alternatives before the present one
        self._sequence, self._piece = NOTHING, NOTHING  # of the present one, all but its last piece, and that
        self._outer: list[tuple[Size | None, Size]] = []  # likewise of each group that is open

    def piece(self, size: Size) -> None:
        self._sequence, self._piece = then(self._sequence, self._piece), size

    def times(self, least: int, most: int | None) -> None:
        self._piece = repeated(self._piece, least, most)

    def alternative(self) -> None:
        self._before = self._so_far()
        self._sequence, self._piece = NOTHING, NOTHING

    def open(self) -> None:
        """Raises TooDeepError."""
        if len(self._outer) == DEEPEST:
            raise TooDeepError
        self._outer.append((self._before, then(self._sequence, self._piece)))
        self._before, self._sequence, self._piece = None, NOTHING, NOTHING

    def close(self) -> None:
        if self._outer:
            self._piece = self._so_far()
            self._before, self._sequence = self._outer.pop()

    def size(self) -> Size:
        while self._outer:
            self.close()
        return self._so_far()

    def _so_far(self) -> Size:
        present = then(self._sequence, self._piece)
        return present if self._before is None else either(self._before, present)
