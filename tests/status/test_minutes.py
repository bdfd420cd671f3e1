"""A day of samples: what was not measured is unknown, whatever else came, in whichever order and however often."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.status import minutes
from chalicelib.status.minutes import DAY_MS, LETTERS, MINUTE_MS, MINUTES, UNKNOWN, Shares, State

T0 = 1_795_000_000_000  # 2026-11-18 11:06:40 UTC
STATES: Sequence[State] = ("up", "planned", "degraded", "down")

samples = st.lists(st.tuples(st.integers(0, MINUTES - 1), st.sampled_from(STATES)), max_size=60)
letters = st.text(alphabet=[UNKNOWN, *LETTERS.values()], max_size=MINUTES)


def day(taken: Sequence[tuple[int, State]]) -> str:
    runs = ""
    for minute, state in taken:
        runs = minutes.with_sample(runs, minute, state)
    return runs


@given(letters)
def test_runs_say_what_the_letters_say(text: str) -> None:
    runs = minutes.runs_of(text)
    assert minutes.minutes_of(runs) == text.rstrip(UNKNOWN)
    assert minutes.runs_of(minutes.minutes_of(runs)) == runs


@given(samples, st.integers(0, 2**32))
def test_neither_order_nor_repetition_changes_a_day(taken: list[tuple[int, State]], seed: int) -> None:
    again = [*taken, *taken]
    random.Random(seed).shuffle(again)
    assert day(again) == day(taken)


@given(samples, st.integers(0, MINUTES))
def test_every_minute_that_has_passed_counts_once_and_without_a_sample_as_unknown(
    taken: list[tuple[int, State]], passed: int
) -> None:
    found = minutes.shares(day(taken), passed)
    measured = {minute for minute, _ in taken if minute < passed}
    assert found.passed == passed
    assert found.unknown == passed - len(measured)
    assert found.up <= len({minute for minute, state in taken if state == "up" and minute < passed})


@given(samples, st.integers(0, MINUTES - 1))
def test_a_sample_more_makes_nothing_else_known_and_nothing_better(taken: list[tuple[int, State]], minute: int) -> None:
    before, after = day(taken), minutes.with_sample(day(taken), minute, "up")
    bad = ".upgd"
    for place in range(MINUTES):
        was, becomes = (minutes.minutes_of(runs).ljust(MINUTES, UNKNOWN)[place] for runs in (before, after))
        assert becomes == was or (place == minute and was == UNKNOWN and becomes == "u")
        assert bad.index(becomes) >= bad.index(was)


@given(st.builds(Shares, *[st.integers(0, 10**6)] * 5))
def test_only_what_never_was_down_is_up_all_of_the_time_that_is_known(whole: Shares) -> None:
    uptime = whole.uptime_permyriad
    if uptime is None:
        assert whole.up + whole.degraded + whole.down == 0
    else:
        assert 0 <= uptime <= 10_000
        assert (uptime == 10_000) == (whole.down == 0)


@given(st.integers(0, 4_000_000_000_000))
def test_a_moment_is_in_its_day_and_minute(at_ms: int) -> None:
    began_ms = at_ms - at_ms % DAY_MS
    assert minutes.day_of(began_ms) == minutes.day_of(at_ms) == minutes.day_of(began_ms + DAY_MS - 1)
    assert minutes.day_of(began_ms + DAY_MS) > minutes.day_of(at_ms) or at_ms > 253_000_000_000_000
    assert minutes.passed_of(minutes.day_of(at_ms), at_ms) == minutes.minute_of(at_ms)
    assert minutes.passed_of(minutes.day_of(at_ms), began_ms + DAY_MS) == MINUTES
    assert minutes.passed_of(minutes.day_of(at_ms), began_ms - 1) == 0


def test_the_days_that_are_shown_end_today() -> None:
    assert minutes.days_until(T0, 3) == ["2026-11-16", "2026-11-17", "2026-11-18"]
    assert len(set(minutes.days_until(T0))) == 90


@pytest.mark.parametrize("runs", ["", "x5", "u", "u99999", "5u", "u3\n", "..", "d1440d1440"])
def test_what_another_version_wrote_is_never_up_without_a_sample(runs: str) -> None:
    assert len(minutes.minutes_of(runs)) <= MINUTES
    if not runs.startswith(("u3", "u9")):
        assert minutes.shares(runs, MINUTES).up == 0


def test_the_last_sample_counts_for_as_long_as_it_is_asked_for_and_no_longer() -> None:
    runs = minutes.with_sample("", 100, "down")
    assert minutes.latest(runs, 104, 5) == "down"
    assert minutes.latest(runs, 105, 5) is None
    assert minutes.latest(runs, 99, 5) is None


def test_a_minute_that_runs_has_not_passed() -> None:
    began_ms = T0 - T0 % DAY_MS
    assert minutes.passed_of("2026-11-18", began_ms + 10 * MINUTE_MS + 59_999) == 10
