"""Usage is what a recount of the ledger says: whenever it was rolled up, however often, and whatever came late."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.ledger import Entry
from chalicelib.ledger.lateness import LATE_MS
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.refusal import StoreUnavailable
from chalicelib.usage import Usage
from chalicelib.usage.group import Dimension, group_of
from chalicelib.usage.latencies import middle_of, percentile, step_of
from chalicelib.usage.memory import MemoryRollups
from chalicelib.usage.reader import MOST_OPEN, Asked
from chalicelib.usage.roller import GRACE_MS
from chalicelib.usage.rollup import MOST_BYTES, Part, parted, whole
from chalicelib.usage.tally import Tally, added
from chalicelib.usage.times import DAY_MS, HOUR_MS, Span
from tests.usage.arrange import DIMENSIONS, SPANS, T0, TENANT, entries, kept, made, recounted, roller, values_of

END = T0 + 3 * DAY_MS
OVER = END + GRACE_MS
DUE = st.integers(T0, OVER + HOUR_MS)
ASKED = st.lists(st.sampled_from(DIMENSIONS), unique=True).map(tuple)


def written(found: Iterable[Entry], now_ms: int | None = None) -> MemoryLedger:
    ledger = MemoryLedger(clock=None if now_ms is None else lambda: now_ms)
    for entry in found:
        ledger.put_if_absent(entry)
    return ledger


def told(usage: Usage, span: Span, dimensions: tuple[Dimension, ...], until_ms: int = END) -> object:
    rows = usage.rows(Asked(TENANT, T0, until_ms, span, dimensions))
    assert rows.as_of_ms is None
    found = [
        ((row.start_ms, row.values), (each.requests, each.refusals, each.tokens_in, each.tokens_out, each.micro_usd))
        for row in rows
        for each in (row.tally,)
    ]
    assert [where for where, _ in found] == sorted({where for where, _ in found})
    return dict(found)


@given(entries(), st.lists(DUE, max_size=4), st.sampled_from(SPANS), ASKED)
def test_usage_is_a_recount_of_the_ledger_however_much_of_it_is_closed(
    found: list[Entry], runs: list[int], span: Span, dimensions: tuple[Dimension, ...]
) -> None:
    ledger, rollups = written(found), MemoryRollups()
    for now_ms in sorted(runs):
        roller(ledger, rollups).run(lambda: [TENANT], now_ms)
        assert told(Usage(ledger, rollups), span, dimensions) == recounted(found, span, dimensions)


@given(entries(), st.randoms(use_true_random=False), st.lists(DUE, max_size=4))
def test_entries_that_come_late_twice_or_in_another_order_end_in_the_same_bytes(
    found: list[Entry], chance: object, runs: list[int]
) -> None:
    in_time = MemoryRollups()
    roller(written(found), in_time).run(lambda: [TENANT], OVER)

    now_ms = T0
    ledger, rollups = MemoryLedger(clock=lambda: now_ms), MemoryRollups()
    arrivals = [*found, *found]
    chance.shuffle(arrivals)  # type: ignore[attr-defined]
    for at_ms in (*sorted(runs), OVER):
        now_ms = at_ms
        come = [entry for entry in arrivals if entry.admitted_ms < at_ms][: 1 + len(arrivals) // 4]
        for entry in come:
            arrivals.remove(entry)
            ledger.put_if_absent(entry)
        roller(ledger, rollups).run(lambda: [TENANT], now_ms)
    now_ms = OVER + 3 * HOUR_MS  # an hour after all others, in which idle tenants are looked at again
    for entry in arrivals:
        ledger.put_if_absent(entry)
    roller(ledger, rollups).run(lambda: [TENANT], now_ms)

    assert kept(rollups) == kept(in_time)


class Dying(MemoryRollups):
    """Dies at its nth write, before or after it."""

    def __init__(self, last: int, *, after: bool) -> None:
        super().__init__()
        self.left, self.after = last, after

    def put(self, part: Part) -> None:
        self.left -= 1
        if self.left >= 0 or self.after:
            super().put(part)
        if self.left < 0:
            raise KeyboardInterrupt


@given(entries(), st.integers(0, 20), st.booleans(), DUE)
def test_a_roll_up_that_is_killed_between_any_two_writes_ends_in_the_same_bytes(
    found: list[Entry], last: int, after: bool, first_ms: int
) -> None:
    ledger, whole_run, rollups = written(found), MemoryRollups(), Dying(last, after=after)
    roller(ledger, whole_run).run(lambda: [TENANT], OVER)
    for now_ms in (first_ms, OVER):
        try:
            roller(ledger, rollups).run(lambda: [TENANT], now_ms)
        except KeyboardInterrupt:
            assert told(Usage(ledger, rollups), "day", ("key",)) == recounted(found, "day", ("key",))
            rollups.left = 1_000
            roller(ledger, rollups).run(lambda: [TENANT], now_ms)
    assert kept(rollups) == kept(whole_run)
    assert roller(ledger, rollups).run(lambda: [TENANT], OVER + DAY_MS) == 0


@given(entries(), DUE, st.integers(T0, END), st.integers(T0, END))
def test_groups_are_of_a_time_to_the_millisecond(found: list[Entry], now_ms: int, first: int, second: int) -> None:
    ledger, rollups = written(found), MemoryRollups()
    roller(ledger, rollups).run(lambda: [TENANT], now_ms)
    since_ms, until_ms = sorted((first, second))
    groups = Usage(ledger, rollups).groups(TENANT, since_ms, until_ms)
    expected: dict[tuple[str, ...], list[int]] = {}
    for entry in (each for each in found if since_ms <= each.admitted_ms < until_ms):
        row = expected.setdefault(values_of(entry, DIMENSIONS), [0, 0])
        row[0] += 1
        row[1] += entry.charged.micro_usd
    assert groups is not None
    assert {tuple(group): [tally.requests, tally.micro_usd] for group, tally in groups.items()} == expected


@given(entries(), DUE, st.sampled_from(SPANS), ASKED, st.integers(1, 7))
def test_pages_hold_each_row_once(
    found: list[Entry], now_ms: int, span: Span, dimensions: tuple[Dimension, ...], size: int
) -> None:
    ledger, rollups = written(found), MemoryRollups()
    roller(ledger, rollups).run(lambda: [TENANT], now_ms)
    usage = Usage(ledger, rollups)
    everything = list(usage.rows(Asked(TENANT, T0, END, span, dimensions)))
    paged: list[object] = []
    after = None
    while page := list(usage.rows(Asked(TENANT, T0, END, span, dimensions, after)))[:size]:
        paged += page
        after = page[-1][:2]
    assert paged == everything


def test_an_hour_costs_one_write_however_many_entries_it_has_and_a_day_one_more() -> None:
    rollups = Dying(10**6, after=True)
    ledger = written(made(T0 + 60 * number, number) for number in range(2_000))
    assert roller(ledger, rollups).run(lambda: [TENANT], T0 + HOUR_MS + GRACE_MS) == 1
    assert roller(ledger, rollups).run(lambda: [TENANT], T0 + DAY_MS + GRACE_MS) == 1
    assert 10**6 - rollups.left == 2
    assert roller(ledger, rollups).run(lambda: [TENANT], T0 + 9 * DAY_MS) == 0


def test_an_entry_that_is_late_is_marked_and_counted_where_it_belongs_when_its_day_is_closed() -> None:
    now_ms = T0 + 2 * DAY_MS
    ledger, rollups = MemoryLedger(clock=lambda: now_ms), MemoryRollups()
    for number, at_ms in enumerate((T0, T0 + 30 * HOUR_MS)):
        ledger.put_if_absent(made(at_ms, number))
    roller(ledger, rollups).run(lambda: [TENANT], now_ms)
    ledger.put_if_absent(made(T0 + 23 * HOUR_MS, 7))  # an hour that nothing is kept of, of a day that is
    assert roller(ledger, rollups).run(lambda: [TENANT], now_ms + 60_000) >= 2
    assert [part.requests for part in kept(rollups)] == [1, 1, 1, 2]


@pytest.mark.parametrize(("after_ms", "marks"), [(LATE_MS, 0), (LATE_MS + 1, 1)])
def test_who_comes_within_a_quarter_of_an_hour_is_not_late(after_ms: int, marks: int) -> None:
    ledger = MemoryLedger(clock=lambda: T0 + after_ms)
    ledger.put_if_absent(made(T0))
    assert len(ledger.late(T0, T0 + DAY_MS)) == marks


def test_what_the_ledger_forgets_stays_counted() -> None:
    rollups = MemoryRollups()
    roller(written([made(T0), made(T0, 1)]), rollups).run(lambda: [TENANT], OVER)
    before = kept(rollups)
    roller(written([made(T0, 1)]), rollups).recount(TENANT, T0)
    assert kept(rollups) == before


class Down(MemoryLedger):
    """Answers of one tenant only."""

    def kept(self, tenant: str, *asked: object) -> object:  # type: ignore[override]
        if tenant == "down":
            raise StoreUnavailable("down")
        return super().kept(tenant, *asked)  # type: ignore[arg-type]


def test_a_tenant_whose_ledger_fails_keeps_no_other_open() -> None:
    ledger, rollups = Down(), MemoryRollups()
    ledger.put_if_absent(made(T0))
    with pytest.raises(StoreUnavailable):
        roller(ledger, rollups).run(lambda: ["down", TENANT], OVER)
    assert len(kept(rollups)) == 2
    assert rollups.mark().closed_ms == 0  # all are tried again


def test_too_much_that_is_open_is_left_out_and_said() -> None:
    ledger, rollups = written(made(T0 + HOUR_MS, number) for number in range(MOST_OPEN + 1)), MemoryRollups()
    ledger.put_if_absent(made(T0))
    roller(ledger, rollups).run(lambda: [TENANT], T0 + HOUR_MS + GRACE_MS)
    rows = Usage(ledger, rollups).rows(Asked(TENANT, T0, END, "hour"))
    assert rows.as_of_ms == T0 + HOUR_MS
    assert [row.tally.requests for row in rows] == [1]
    assert Usage(ledger, rollups).groups(TENANT, T0, END) is None


# parts


def test_a_bucket_of_many_groups_has_parts_that_fit_into_items_and_none_is_missed() -> None:
    ledger = written(made(T0, number, key=f"key-{number}", subject=f"key:{'x' * 60}") for number in range(9_000))
    rollups = MemoryRollups()
    roller(ledger, rollups).run(lambda: [TENANT], OVER)
    hours = list(rollups.read(TENANT, "hour", T0, END))
    assert len(hours) > 1 and whole(hours) and not whole(hours[:-1])
    assert all(len(part.text) <= MOST_BYTES + 2 for part in hours)
    assert sum(len(part.groups) for part in hours) == 9_000
    assert sum(1 for _ in Usage(ledger, rollups).rows(Asked(TENANT, T0, END, "hour", ("key",)))) == 9_000


@given(entries())
def test_groups_are_read_as_they_were_written(found: list[Entry]) -> None:
    ledger, rollups = written(found), MemoryRollups()
    roller(ledger, rollups).run(lambda: [TENANT], OVER)
    for part in kept(rollups):
        assert parted(TENANT, part.span, part.start_ms, part.groups) == [part]


# latencies


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_step_keeps_order_and_is_a_64th_beside_what_it_holds_at_most(one: int, other: int) -> None:
    assert (step_of(one) <= step_of(other)) or one > other
    assert abs(middle_of(step_of(one)) - one) * 64 <= one
    assert step_of(middle_of(step_of(one))) == step_of(one)


@given(st.lists(st.integers(0, 10**6), min_size=1), st.sampled_from((50, 95)))
def test_a_percentile_of_steps_is_within_a_64th_of_the_nearest_rank(times: list[int], percent: int) -> None:
    true = sorted(times)[-(-len(times) * percent // 100) - 1]
    steps: dict[int, int] = {}
    for ms in times:
        steps[step_of(ms)] = steps.get(step_of(ms), 0) + 1
    found = percentile(steps, percent)
    assert found is not None and abs(found - true) * 64 <= true
    assert percentile({}, percent) is None


@given(entries(), entries())
def test_tallies_add_up_in_any_order(one: list[Entry], other: list[Entry]) -> None:
    first, second = Tally(), Tally()
    for tally, found in ((first, one), (second, other)):
        for entry in found:
            tally.count(entry)
    group = group_of(made(T0))
    assert added([{group: first}, {group: second}]) == added([{group: second}, {group: first}])
