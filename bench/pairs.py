"""What the rounds of two that were measured in turn say about their difference. Pure.

The figure is the ratio of the two in one round, which what the machine did in that round has touched alike; of all
rounds, the median, with the quartiles that half of the rounds lie within.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.table import Row, shown

ALIKE = 0.03  # the project's "within 3 %"


@dataclass(frozen=True)
class Quartiles:
    low: float
    median: float
    high: float


def quartiles(values: Sequence[float]) -> Quartiles:
    """Of at least two values, all of them counted as the least and the most that there are."""
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


def ratio(now: Sequence[float], before: Sequence[float]) -> Quartiles:
    """Now / before, by round."""
    return quartiles([mine / theirs for mine, theirs in zip(now, before, strict=True)])


def verdict(row: Row, found: Quartiles) -> str:
    """A difference inside the quartiles is none."""
    if found.low <= 1 <= found.high:
        return "same"
    if 1 - ALIKE <= found.median <= 1 + ALIKE:
        return "within 3 %"
    percent = f"by {abs(found.median - 1) * 100:.1f} %"
    if row.unit == "MB":
        return f"{'larger' if found.median > 1 else 'smaller'} {percent}"
    return f"{'faster' if (found.median > 1) == row.more_is_better else 'slower'} {percent}"


def cell(found: Quartiles, *, places: int | None = None) -> str:
    """The median, and the quartiles in brackets."""

    def text(value: float) -> str:
        return shown(value) if places is None else f"{value:.{places}f}"

    return f"{text(found.median)} ({text(found.low)} to {text(found.high)})"
