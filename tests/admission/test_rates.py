"""GCRA against its law: no interval holds more than burst + d * count / period."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.admission import DEFAULT_LIMITS, rates
from chalicelib.admission.decision import Reservation, predict
from chalicelib.admission.limits import SLACK_MS, Rate, Units
from chalicelib.admission.meter import Meter
from chalicelib.admission.rates import US_PER_MS
from tests.admission.arrange import T0, limits
from tests.admission.model import assert_curve


@st.composite
def sound_rates(draw: st.DrawFn) -> Rate:
    count = draw(st.integers(1, 5_000))
    period_ms = draw(st.sampled_from([1_000, 2_000, 60_000, 3_600_000]))
    smallest = 2 + -(-SLACK_MS * count // period_ms)
    burst = draw(st.integers(smallest, smallest + 500))
    rate = Rate("r", "tokens", count, period_ms, burst)
    assert rates.is_sound(rate)
    return rate


def admit(rate: Rate, tat: int | None, units: int, now_ms: int) -> int | None:
    """One admission by this rate alone; the new arrival time, or None where it is denied."""
    return written(rate, tat, tat, units, now_ms)


def written(rate: Rate, tat: int | None, seen: int | None, units: int, now_ms: int) -> int | None:
    """The same by one write, which bets on an arrival time that was seen before; None where it does not hold."""
    ask = Reservation("acme", 1, limits(rate), Units(tokens=units, requests=units), "0x", now_ms, now_ms)
    key = rates.key(rate)
    there, remembered = (Meter(1, {} if each is None else {key: each}, {}, {}) for each in (tat, seen))
    write = predict(ask, remembered)
    return write.apply(there).tats[key] if write.holds(there) else None


gaps_ms = st.one_of(st.integers(0, 3_000), st.integers(0, 3), st.integers(200, 600))
calls = st.lists(st.tuples(gaps_ms, st.integers(1, 40)), min_size=1, max_size=60)


def test_what_a_rate_did_not_charge_while_it_lagged_is_withheld() -> None:
    rate = Rate("r", "tokens", 1_000, 1_000, 1_000)
    for lag_ms in (1, 249, 250, 251, 499, 500, 501):
        tat = admit(rate, None, 1, T0)
        admitted, now_ms = 1, T0 + 1 + lag_ms
        while (after := admit(rate, tat, 1, now_ms)) is not None:
            tat, admitted = after, admitted + 1
        assert 751 <= admitted <= 1_000 + 1 + lag_ms
        # What came after the lag, all at one instant, is a burst at most.
        assert admitted - 1 <= rate.burst


@given(sound_rates(), st.integers(1, 10_000))
def test_rounding_favours_the_limit(rate: Rate, units: int) -> None:
    exact_us = Fraction(units * rate.period_ms * US_PER_MS, rate.count)
    assert exact_us <= rates.cost_us(rate, units) < exact_us + 1
    assert rates.tolerance_us(rate) <= Fraction(rate.burst * rate.period_ms * US_PER_MS, rate.count)


@given(sound_rates(), calls)
def test_no_interval_holds_more_than_its_curve(rate: Rate, arrivals: list[tuple[int, int]]) -> None:
    now_ms, tat, admitted = T0, None, []
    for gap_ms, units in arrivals:
        now_ms += gap_ms
        if units <= rate.burst and (after := admit(rate, tat, units, now_ms)) is not None:
            tat = after
            admitted.append((now_ms, units))
    assert_curve(admitted, rate.burst, rate.count, rate.period_ms)


@given(sound_rates(), calls, st.data())
def test_no_interval_holds_more_than_its_curve_whatever_its_callers_remember(
    rate: Rate, arrivals: list[tuple[int, int]], data: st.DataObject
) -> None:
    now_ms, admitted = T0, []
    tats: list[int | None] = [None]
    for gap_ms, units in arrivals:
        now_ms += gap_ms
        seen = data.draw(st.sampled_from(tats), "what the caller saw last")
        if units <= rate.burst and (after := written(rate, tats[-1], seen, units, now_ms)) is not None:
            assert after >= (tats[-1] or 0) + rates.cost_us(rate, units)
            tats.append(after)
            admitted.append((now_ms, units))
    assert_curve(admitted, rate.burst, rate.count, rate.period_ms)


def test_who_remembers_a_rate_at_rest_need_not_know_of_those_who_came_since() -> None:
    rate = Rate("r", "requests", 100, 1_000, 100)
    long_ago = admit(rate, None, 1, T0)
    tat = admit(rate, long_ago, 1, T0 + 5_000)
    for after_ms in (11, 50, 200, 259):
        tat = written(rate, tat, long_ago, 1, T0 + 5_000 + after_ms)
        assert tat == (T0 + 5_000 + after_ms + 10) * US_PER_MS
    # Ahead of the clock there is only one branch.
    assert written(rate, tat, long_ago, 1, T0 + 5_259) is None


@given(sound_rates(), calls, st.integers(1, 40))
def test_the_wait_is_exact_to_the_microsecond(rate: Rate, arrivals: list[tuple[int, int]], units: int) -> None:
    now_ms, tat = T0, None
    for gap_ms, before in arrivals:
        now_ms += gap_ms // 10
        tat = (admit(rate, tat, before, now_ms) if before <= rate.burst else None) or tat
    units = min(units, rate.burst)
    passes_us = rates.passes_at_us(rate, tat, units)
    first_ms = max(now_ms, -(-passes_us // US_PER_MS))
    assert admit(rate, tat, units, first_ms) is not None
    assert admit(rate, tat, units, first_ms + 100_000_000) is not None
    if first_ms > now_ms:
        assert admit(rate, tat, units, first_ms - 1) is None


@given(sound_rates(), calls)
def test_what_is_said_to_remain_passes_and_one_more_does_not(rate: Rate, arrivals: list[tuple[int, int]]) -> None:
    now_ms, tat = T0, None
    for gap_ms, before in arrivals:
        now_ms += gap_ms // 10
        tat = (admit(rate, tat, before, now_ms) if before <= rate.burst else None) or tat
    left = rates.remaining(rate, tat, now_ms * US_PER_MS)
    assert 0 <= left <= rate.burst
    if left:
        assert admit(rate, tat, left, now_ms) is not None
    if left < rate.burst:
        assert admit(rate, tat, left + 1, now_ms) is None


@given(sound_rates(), st.integers(2, 200))
def test_a_sound_rate_sustains_one_unit_at_a_time(rate: Rate, count: int) -> None:
    gap_ms = -(-rate.period_ms // rate.count)
    now_ms, tat = T0, None
    for _ in range(count):
        tat = admit(rate, tat, 1, now_ms)
        assert tat is not None
        now_ms += gap_ms


def test_a_burst_falls_short_by_at_most_the_slack() -> None:
    rate = DEFAULT_LIMITS.rates[0]
    tat, admitted = None, 0
    for call in range(400):
        after = admit(rate, tat, 1, T0 + call * 100)
        if after is None:
            break
        tat, admitted = after, admitted + 1
    # 10 requests/s for 30 s: 255 + 1.5/s x 29.9 s is 299.85, and the slack is worth 0.375.
    assert admitted == 299


def test_another_definition_is_another_rate_but_another_burst_is_not() -> None:
    rate = Rate("minute", "requests", 60, 60_000, 300)
    assert rates.key(rate) == rates.key(Rate("minute", "requests", 60, 60_000, 10))
    assert rates.key(rate) != rates.key(Rate("minute", "requests", 61, 60_000, 300))
    assert rates.key(rate) != rates.key(Rate("minute", "tokens", 60, 60_000, 300))
