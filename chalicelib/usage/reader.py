"""What was used: closed buckets from their roll-ups, and what is open yet from the ledger."""

from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import NamedTuple

import msgspec

from chalicelib.ledger import Ledger
from chalicelib.usage.counting import TooMany, counted
from chalicelib.usage.group import Dimension, Group
from chalicelib.usage.rollup import Part, whole
from chalicelib.usage.rollups import Rollups, closed_of
from chalicelib.usage.tally import Groups, Tally, added
from chalicelib.usage.times import DAY_MS, HOUR_MS, Span, end, start

MOST_OPEN = 20_000
"""Entries that one question counts itself, of hours that are not closed."""

Values = tuple[str, ...]
"""Of the dimensions that were asked for, in their order."""

_Bucket = tuple[int, Groups]


class Row(NamedTuple):
    """What was used in one bucket by one group."""

    start_ms: int
    values: Values
    tally: Tally


class Asked(msgspec.Struct, frozen=True):
    """Buckets that begin in [since, until), both a bucket's edge, by which dimensions; after which row of them."""

    tenant: str
    since_ms: int
    until_ms: int
    span: Span
    group_by: tuple[Dimension, ...] = ()
    after: tuple[int, Values] | None = None


class Usage:
    """Reads roll-ups as rows are taken, a bucket at a time. Every method may raise StoreUnavailable, NoUsageTable."""

    def __init__(self, ledger: Ledger, rollups: Rollups) -> None:
        self._ledger = ledger
        self._rollups = rollups

    def rows(self, asked: Asked) -> "Rows":
        """In the order of their buckets and values; whoever goes through them reads."""
        return Rows(_Tenants(self._ledger, self._rollups, asked.tenant), asked)

    def groups(self, tenant: str, since_ms: int, until_ms: int) -> dict[Group, Tally] | None:
        """Of all requests that arrived in [since, until), to the millisecond.

        None where more than MOST_OPEN of them, at one end, are in no roll-up.
        """
        its = _Tenants(self._ledger, self._rollups, tenant)
        first, last = end(since_ms, "hour"), start(min(until_ms, its.closed_ms), "hour")
        try:
            if first >= last:
                return added(its.counted(since_ms, until_ms).values())
            edges = *its.counted(since_ms, first).values(), *its.counted(last, until_ms).values()
        except TooMany:
            return None
        return added(chain(edges, (groups for _, groups in its.closed(first, last))))


class Rows:
    """Rows, once through.

    `as_of_ms`: what arrived before it is in them; None: everything is. `read`: how many groups were, so far.
    """

    def __init__(self, its: "_Tenants", asked: Asked) -> None:
        self._its = its
        self._asked = asked
        self.as_of_ms: int | None = None
        self.read = 0
        self._open: dict[int, dict[Group, Tally]] = {}
        try:
            self._open = its.counted(max(asked.since_ms, its.closed_ms), asked.until_ms)
        except TooMany:
            self.as_of_ms = max(asked.since_ms, its.closed_ms)

    def __iter__(self) -> Iterator[Row]:
        asked = self._asked
        since_ms, values = (asked.since_ms, None) if asked.after is None else asked.after
        for start_ms, groups in self._buckets(max(since_ms, asked.since_ms)):
            self.read += len(groups)
            found = _by(asked.group_by, groups)
            for each in sorted(found):
                if values is None or (start_ms, each) > (since_ms, values):
                    yield Row(start_ms, each, found[each])

    def _buckets(self, since_ms: int) -> Iterator[_Bucket]:
        until_ms = min(self._asked.until_ms, self._its.closed_ms)
        opened = [(hour, self._open[hour]) for hour in sorted(self._open) if hour >= since_ms]
        if self._asked.span == "hour":
            return chain(self._its.hours(since_ms, until_ms), opened)
        return _by_day(chain(self._its.closed(since_ms, until_ms), opened))


class _Tenants:
    """One tenant's roll-ups, as far as they are closed now, and its ledger."""

    def __init__(self, ledger: Ledger, rollups: Rollups, tenant: str) -> None:
        self._ledger = ledger
        self._rollups = rollups
        self._tenant = tenant
        self.closed_ms, self._days_ms = closed_of(rollups, tenant)

    def counted(self, since_ms: int, until_ms: int) -> dict[int, dict[Group, Tally]]:
        """Of the ledger. Raises TooMany."""
        return counted(self._ledger, self._tenant, since_ms, until_ms, MOST_OPEN)

    def hours(self, since_ms: int, until_ms: int) -> Iterator[_Bucket]:
        for hour_ms, parts in groupby(self._rollups.read(self._tenant, "hour", since_ms, until_ms), _start):
            found = list(parts)
            if whole(found):
                yield hour_ms, added(part.groups for part in found)
            else:  # it is being written anew, as it is where an entry came late
                yield hour_ms, counted(self._ledger, self._tenant, hour_ms, hour_ms + HOUR_MS).get(hour_ms, {})

    def closed(self, since_ms: int, until_ms: int) -> Iterator[_Bucket]:
        """In as few buckets as there are: days where they are whole, hours before and after."""
        first, last = end(since_ms, "day"), start(min(until_ms, self._days_ms), "day")
        if first >= last:
            yield from self.hours(since_ms, until_ms)
            return
        yield from self.hours(since_ms, first)
        for day_ms, parts in groupby(self._rollups.read(self._tenant, "day", first, last), _start):
            found = list(parts)
            if whole(found):
                yield day_ms, added(part.groups for part in found)
            else:
                yield from self.hours(day_ms, day_ms + DAY_MS)
        yield from self.hours(last, until_ms)


def _start(part: Part) -> int:
    return part.start_ms


def _by_day(buckets: Iterable[_Bucket]) -> Iterator[_Bucket]:
    for day_ms, found in groupby(buckets, lambda bucket: start(bucket[0], "day")):
        yield day_ms, added(groups for _, groups in found)


def _by(dimensions: tuple[Dimension, ...], groups: Groups) -> dict[Values, Tally]:
    places = [Group._fields.index(dimension) for dimension in dimensions]
    found: dict[Values, Tally] = {}
    for group, tally in groups.items():
        found.setdefault(tuple(group[place] for place in places), Tally()).add(tally)
    return found
