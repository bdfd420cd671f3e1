from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.admission import budgets
from chalicelib.admission.limits import Budget, Unit, WindowKind

kinds: st.SearchStrategy[WindowKind] = st.sampled_from(["minute", "hour", "day", "month"])
units: st.SearchStrategy[Unit] = st.sampled_from(["requests", "tokens", "micro_usd", "gpu_ms"])
instants = st.integers(1_700_000_000_000, 4_000_000_000_000)


@given(kinds, instants)
def test_a_window_holds_its_instant_and_ends_where_the_next_begins(kind: WindowKind, now_ms: int) -> None:
    window = budgets.window_id(kind, now_ms)
    end_ms = budgets.end_ms(kind, window)
    assert budgets.start_ms(kind, window) <= now_ms < end_ms
    assert budgets.window_id(kind, end_ms - 1) == window
    assert budgets.start_ms(kind, budgets.window_id(kind, end_ms)) == end_ms


@given(kinds, instants, instants)
def test_ids_sort_as_time_does(kind: WindowKind, one_ms: int, other_ms: int) -> None:
    earlier, later = sorted((one_ms, other_ms))
    assert budgets.window_id(kind, earlier) <= budgets.window_id(kind, later)


@given(kinds, units)
def test_a_key_tells_unit_and_window(kind: WindowKind, unit: Unit) -> None:
    key = budgets.key(Budget("b_1", unit, 10, kind))
    assert (budgets.unit_of(key), budgets.kind_of(key)) == (unit, kind)


def test_windows_are_named_by_their_start_in_utc() -> None:
    now_ms = int(datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()) * 1_000 + 999
    ids = [budgets.window_id(kind, now_ms) for kind in ("month", "day", "hour", "minute")]
    assert ids == ["2026-11", "2026-11-30", "2026-11-30T23", "2026-11-30T23:59"]
    assert budgets.window_id("month", now_ms + 1) == "2026-12"
