"""A shard's write: it applies what the book grants it, gives back what nothing stands on, and follows the epoch. Pure.

It may be made from old copies of book and shard, by anybody, at any time: what it lacks comes with the next one. It
is conditional on the shard's stamp, and on a bound for each use that it counts on.
"""

import msgspec

from chalicelib.admission import budgets, rates
from chalicelib.admission.decision import New, Same
from chalicelib.admission.limits import Budget, Rate
from chalicelib.admission.meter import Meter
from chalicelib.admission.rates import SLACK_US, US_PER_MS
from chalicelib.admission.shares.arithmetic import (
    MARGIN_US,
    MILLI,
    PLACES,
    burst_of,
    count_of,
    level_milli,
    limit_of,
    tat_of,
    units_of,
)
from chalicelib.admission.shares.book import Amounts, Book, Shard, meter_of, stamp, version_of


class AtRest(msgspec.Struct, frozen=True):
    """Holds if nothing stands on a rate's burst."""

    key: str
    floor_us: int

    def holds(self, meter: Meter) -> bool:
        return meter.tats.get(self.key, 0) < self.floor_us


class Rescaled(msgspec.Struct, frozen=True):
    """Holds if a rate's arrival time is between the two, and sets another one, which owes as much at another count."""

    key: str
    floor_us: int
    ceiling_us: int
    tat_us: int | None  # None: it stays

    def holds(self, meter: Meter) -> bool:
        return self.floor_us <= meter.tats.get(self.key, 0) <= self.ceiling_us


class Crowd(msgspec.Struct, frozen=True):
    """Holds if there are at most so many leases."""

    most: int
    plain: int  # so many of them from before there were sets, of which no new one comes
    sets: bool  # whether the meter has sets

    def holds(self, meter: Meter) -> bool:
        later = len(meter.leases) - meter.plain
        return meter.plain <= self.plain and later <= self.most - self.plain and self.sets == (meter.sets is not None)


Bound = AtRest | Rescaled | Same | New | Crowd
"""A budget's: `Same` of no units where it stays in its window, `New` of none where it turns."""


class Sync(msgspec.Struct, frozen=True):
    """One conditional write to a shard: all of it or nothing."""

    meter: str  # its name
    seen: int  # the stamp, or the epoch of a meter that becomes shard 0
    stamp: int
    granted: Amounts
    returned: Amounts
    held: frozenset[str]
    bounds: tuple[Bound, ...]

    def holds(self, meter: Meter) -> bool:
        return meter.epoch == self.seen and all(bound.holds(meter) for bound in self.bounds)

    def apply(self, meter: Meter) -> Meter:
        tats, windows = dict(meter.tats), dict(meter.windows)
        for bound in self.bounds:
            if isinstance(bound, Rescaled) and bound.tat_us is not None:
                tats[bound.key] = bound.tat_us
            elif isinstance(bound, New):
                windows[bound.key] = bound.after(meter)
        return msgspec.structs.replace(meter, epoch=self.stamp, tats=tats, windows=windows)


def sync(
    tenant: str, book: Book, shard: Shard, now_ms: int, give: Amounts | None = None, *, caution: int = 0
) -> Sync | None:
    """The write that brings the shard up to the book, and gives back up to `give` of what is not used.

    With caution, from 0 to 16, so many sixteenths of that are left for what is admitted between the look and the write,
    which would fail for it. None where there is nothing to do, where this copy of the book is older than the shard, and
    where a meter that is to become shard 0 uses more than the book knows of.
    """
    if shard.number >= len(book.holders):
        return None
    if book.epoch < shard.epoch or (not shard.divided and book.epoch == shard.epoch):
        return None
    change = _Change(book, shard, now_ms, give or {}, caution)
    for rate in book.limits.rates:
        change.rate(rate)
    for budget in book.limits.budgets:
        if budget.hard:
            change.budget(budget)
    change.places()
    if change.over:
        return None
    held = frozenset(limit_of(component) for component in change.short)
    if (change.granted, change.returned, held, book.epoch) == (
        shard.granted,
        shard.returned,
        shard.held,
        shard.epoch if shard.divided else None,
    ):
        return None
    version = version_of(shard.meter.epoch) + 1 if shard.epoch == book.epoch else 1
    return Sync(
        meter=meter_of(tenant, shard.number),
        seen=shard.meter.epoch,
        stamp=stamp(book.epoch, version),
        granted=change.granted,
        returned=change.returned,
        held=held,
        bounds=tuple(change.bounds),
    )


def whole(tenant: str, book: Book, shard: Shard) -> Sync | None:
    """The write that makes shard 0 the tenant's one meter again, by a closed book; None while it has not all shares."""
    if not book.closed or not shard.divided or shard.epoch > book.epoch or shard.held:
        return None
    if any(shard.share(component) != amount for component, amount in book.whole.items()):
        return None
    return Sync(meter_of(tenant, 0), shard.meter.epoch, book.epoch, {}, {}, frozenset(), ())


class _Change:
    """The counters and bounds of one write, as they are found limit by limit."""

    def __init__(self, book: Book, shard: Shard, now_ms: int, give: Amounts, caution: int) -> None:
        known = set(book.ids.values())
        self.granted = {name: amount for name, amount in shard.granted.items() if limit_of(name) in known}
        self.returned = {name: amount for name, amount in shard.returned.items() if limit_of(name) in known}
        self.bounds: list[Bound] = []
        self.over = False  # more is in use than the share will cover, of a meter that was whole
        self.short = {component for component, left in book.pool().items() if left < 0}
        self._book = book
        self._shard = shard
        self._holder = book.holders[shard.number]
        self._now_ms = now_ms
        self._caution = caution
        self._give = {component: amount for component, amount in give.items() if amount > 0}

    def rate(self, rate: Rate) -> None:
        key, now_us = rates.key(rate), self._now_ms * US_PER_MS
        name = self._book.ids[key]
        count, burst = count_of(name), burst_of(name)
        before_count, before_burst = self._before(count), self._before(burst)
        if count not in self._shard.granted and self._shard.number == 0:
            # What may stand on it was made by a meter that had all of it.
            before_count = rate.count * MILLI
        floor_us, tat_us = now_us - SLACK_US, self._shard.meter.tats.get(key)
        resting = tat_us is None or tat_us < floor_us
        level, top_us = 0, 0
        if not resting:
            assert tat_us is not None
            top_us = tat_us + MARGIN_US
            level = level_milli(rate, before_count, top_us, now_us)
            most = self._applied(burst) * MILLI
            if level > most and before_count:
                # The margin must not claim more than there is.
                top_us = max(tat_us, min(top_us, tat_of(rate, before_count, most, now_us) - 1))
                level = level_milli(rate, before_count, top_us, now_us)
        after_burst = self._settled(burst, -(-level // MILLI))
        # So much of the count stays that what is owed is paid within burst / rate, as one meter would.
        whole_burst = max(rate.burst, 1)
        keep = 0 if not level else min(self._applied(count), -(-level * rate.count // whole_burst))
        if level and self._holder.retiring:
            keep = self._applied(count)
        after_count = self._settled(count, keep)
        if not self._shard.divided:
            # Whoever still admits under the whole limits of before must not pass what is granted.
            self.over |= level > after_burst * MILLI
        elif (after_count, after_burst) == (before_count, before_burst):
            return
        if resting:
            self.bounds.append(AtRest(key, floor_us))
        else:
            moved = after_count != before_count and after_count > 0
            tat = tat_of(rate, after_count, level, now_us) if moved else None
            self.bounds.append(Rescaled(key, floor_us, top_us, tat))

    def budget(self, budget: Budget) -> None:
        key = budgets.key(budget)
        name = self._book.ids[key]
        component = units_of(name)
        window, used = self._shard.meter.windows.get(key, ("", 0))
        gives = self._gives(component)
        ours = budgets.window_id(budget.window, self._now_ms) if gives else ""
        # Room never travels to an earlier window than it was made in.
        later = max(window, self._book.windows.get(name, ""), ours)
        bound = self._bound(component, used) if later == window else 0
        before = self._before(component)
        after = self._settled(component, bound)
        if not self._shard.divided:
            self.over |= bound > after
            before, bound = after + 1, after
            later = later or budgets.window_id(budget.window, self._now_ms)
        if later != window:
            self.bounds.append(New(key, later, 0))
        elif after < before:
            self.bounds.append(Same(key, later, bound, 0))

    def places(self) -> None:
        component = units_of(self._book.ids[PLACES])
        before, bound = self._before(component), self._bound(component, len(self._shard.meter.leases))
        after = self._settled(component, bound)
        if not self._shard.divided:
            self.over |= bound > after
            before, bound = after + 1, after
        if after < before:
            meter = self._shard.meter
            self.bounds.append(Crowd(bound, meter.plain, meter.sets is not None))

    def _before(self, component: str) -> int:
        return self._shard.share(component)

    def _applied(self, component: str) -> int:
        """The share with all that is granted, before anything is given back."""
        granted = max(self.granted.get(component, 0), self._holder.granted.get(component, 0))
        return granted - self.returned.get(component, 0)

    def _bound(self, component: str, used: int) -> int:
        """What is used, and what may be used more until the write is made."""
        return used + max(0, self._applied(component) - used) * self._caution // 16

    def _gives(self, component: str) -> bool:
        return component in self.short or self._holder.retiring or component in self._give

    def _settled(self, component: str, used: int) -> int:
        """The share after the write, of which no more than `used` is in use."""
        share = self._applied(component)
        room = max(0, share - used)
        back = room if component in self.short or self._holder.retiring else min(room, self._give.get(component, 0))
        granted = share + self.returned.get(component, 0)
        if granted:
            self.granted[component] = granted
        if back:
            self.returned[component] = self.returned.get(component, 0) + back
        return share - back
