"""What CloudWatch is told of a metric, and the time series that it makes of that."""

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec

MINUTE = 60


class Name(msgspec.Struct, frozen=True):
    """A metric: each set of dimensions is one of its own, and CloudWatch adds none of them up."""

    namespace: str
    metric: str
    dimensions: frozenset[tuple[str, str]] = frozenset()


Samples = Mapping[int, Sequence[tuple[float, int]]]
"""Values and how often each was seen, by the second at which the minute begins that they fell in."""

Metrics = Mapping[Name, Samples]


class Series(msgspec.Struct, frozen=True):
    """One value for each period, oldest first; None where there is none."""

    values: tuple[float | None, ...]
    period_s: int = MINUTE

    def each(self, change: Callable[[float], float | None]) -> "Series":
        return Series(tuple(None if value is None else change(value) for value in self.values), self.period_s)


def of_metric(samples: Samples, stat: str, period_s: int, end_s: int, periods: int) -> Series:
    """So many periods of a metric, the last of which ends at `end_s`."""
    begins = [end_s - number * period_s for number in range(periods, 0, -1)]
    return Series(tuple(_statistic(_within(samples, begin, begin + period_s), stat) for begin in begins), period_s)


def _within(samples: Samples, begin_s: int, end_s: int) -> list[tuple[float, int]]:
    return [each for at_s in range(begin_s, end_s, MINUTE) for each in samples.get(at_s, ())]


def _statistic(seen: list[tuple[float, int]], stat: str) -> float | None:
    """Raises ValueError for a statistic that it does not know."""
    if not seen and (stat in STATISTICS or stat.startswith("p")):
        return None
    if stat in STATISTICS:
        return STATISTICS[stat](seen)
    if stat.startswith("p"):
        return _percentile(seen, float(stat[1:]))
    raise ValueError(f"unknown statistic {stat}")


def _percentile(seen: list[tuple[float, int]], percent: float) -> float:
    left = math.ceil(sum(count for _, count in seen) * percent / 100)
    for value, count in sorted(seen):
        left -= count
        if left <= 0:
            return value
    return max(value for value, _ in seen)


def _sum(seen: list[tuple[float, int]]) -> float:
    return sum(value * count for value, count in seen)


def _sample_count(seen: list[tuple[float, int]]) -> float:
    return sum(count for _, count in seen)


STATISTICS: Mapping[str, Callable[[list[tuple[float, int]]], float]] = {
    "Sum": _sum,
    "SampleCount": _sample_count,
    "Average": lambda seen: _sum(seen) / _sample_count(seen),
    "Minimum": lambda seen: min(value for value, _ in seen),
    "Maximum": lambda seen: max(value for value, _ in seen),
}
