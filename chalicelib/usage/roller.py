"""Closing hours and days. Whatever it is killed between, the next run ends in the same bytes.

An hour is closed once everything later than it would be marked (`ledger/lateness`). Nothing says so but the roll-ups
themselves: hours are written oldest first, a day after all of its hours, so everything up to the last one is closed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from chalicelib.ledger import Ledger
from chalicelib.ledger.lateness import Lates
from chalicelib.refusal import StoreUnavailable
from chalicelib.usage.counting import TooMany, counted
from chalicelib.usage.rollup import parted
from chalicelib.usage.rollups import Mark, Rollups, closed_by, closed_of
from chalicelib.usage.tally import Groups, added
from chalicelib.usage.times import DAY_MS, HOUR_MS, Span, start

GRACE_MS = 20 * 60_000
"""After an hour's end. What is written later than `lateness.LATE_MS` after its admission is marked; what is left is for
clocks that differ, and for writes that take long."""

OVERLAP_MS = 10 * 60_000
"""Marks are obeyed for so long: each is written before its entry, which may take a while."""

AT_ONCE = 20_000
"""Entries of more than a day, as of a first run; where there are more, it is gone through day by day."""

FIRST_DAYS = 90
"""Of a tenant without roll-ups: what its ledger has of so many days is counted."""


class Roller:
    """Writes roll-ups. Two at once do no harm."""

    def __init__(self, ledger: Ledger, lates: Lates, rollups: Rollups) -> None:
        self._ledger = ledger
        self._lates = lates
        self._rollups = rollups

    def run(self, tenants: Callable[[], Iterable[str]], now_ms: int) -> int:
        """Close what is due; how many roll-ups were written. `tenants` is asked once an hour.

        Raises: StoreUnavailable, after having tried every tenant; NoUsageTable.
        """
        mark = self._rollups.mark()
        due_ms = start(now_ms - GRACE_MS, "hour")
        late = self._lates.late(mark.late_ms - OVERLAP_MS, now_ms + OVERLAP_MS)
        written = 0
        failed: StoreUnavailable | None = None
        for tenant in tenants() if mark.closed_ms < due_ms else ():
            try:
                written += self._close(tenant, due_ms)
            except StoreUnavailable as error:
                failed = error
        for each in late:
            written += self.recount(each.tenant, each.hour_ms)
        if failed:
            raise failed
        if late or mark.closed_ms < due_ms:
            self._rollups.put_mark(Mark(max(due_ms, mark.closed_ms), max(now_ms, mark.late_ms)))
        return written

    def count_again(self, tenant: str, since_ms: int, until_ms: int) -> int:
        """Make the closed hours that begin in [since, until) again, and their days; how many roll-ups that wrote."""
        first = start(since_ms, "hour")
        return sum(self.recount(tenant, hour_ms) for hour_ms in range(first, until_ms, HOUR_MS))

    def recount(self, tenant: str, hour_ms: int) -> int:
        """Make a closed hour and its day again, from what the ledger has; how many roll-ups that wrote.

        A count of fewer entries than were counted before changes nothing: the ledger has begun to forget them.
        """
        there = closed_of(self._rollups, tenant)
        if hour_ms >= there.until_ms:
            return 0  # it will be closed as every hour is
        groups = counted(self._ledger, tenant, hour_ms, hour_ms + HOUR_MS).get(hour_ms, {})
        written = self._put(tenant, "hour", hour_ms, groups)
        if hour_ms < there.days_ms:
            written += self._put_day(tenant, start(hour_ms, "day"))
        return written

    def _close(self, tenant: str, due_ms: int) -> int:
        last = self._rollups.last(tenant, "hour")
        days_ms = closed_by(self._rollups.last(tenant, "day"))
        closed_ms = max(days_ms, closed_by(last))
        # A run may have ended before it wrote the day of the hour that it wrote last.
        days = {start(last.start_ms, "day")} if last is not None and last.start_ms >= days_ms else set()
        written = 0
        for hours in self._counted(tenant, max(closed_ms, start(due_ms, "day") - FIRST_DAYS * DAY_MS), due_ms):
            for day_ms in sorted(days | {start(hour_ms, "day") for hour_ms in hours}):
                for hour_ms in sorted(hour_ms for hour_ms in hours if start(hour_ms, "day") == day_ms):
                    written += self._put(tenant, "hour", hour_ms, hours[hour_ms])
                if day_ms + DAY_MS <= due_ms:
                    written += self._put_day(tenant, day_ms)
            days = set()
        return written

    def _counted(self, tenant: str, since_ms: int, until_ms: int) -> Iterator[Mapping[int, Groups]]:
        """All of the time at once where that is little; else a day at a time, oldest first."""
        most = AT_ONCE if until_ms - since_ms > DAY_MS else None
        try:
            yield counted(self._ledger, tenant, since_ms, until_ms, most)
        except TooMany:
            for day_ms in range(start(since_ms, "day"), until_ms, DAY_MS):
                yield counted(self._ledger, tenant, max(since_ms, day_ms), min(until_ms, day_ms + DAY_MS))

    def _put_day(self, tenant: str, day_ms: int) -> int:
        hours = self._rollups.read(tenant, "hour", day_ms, day_ms + DAY_MS)
        return self._put(tenant, "day", day_ms, added(part.groups for part in hours))

    def _put(self, tenant: str, span: Span, start_ms: int, groups: Groups) -> int:
        parts = parted(tenant, span, start_ms, groups)
        for part in parts:
            self._rollups.put(part)
        return len(parts)
