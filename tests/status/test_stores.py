"""One suite for where samples are kept: in memory, in DynamoDB here, and in another one."""

from collections.abc import Callable

import pytest

from chalicelib.status.memory import MemoryDays
from chalicelib.status.minutes import with_sample
from chalicelib.status.samples import Day, Days, Overtaken, Timing, change
from chalicelib.status.store import DynamoDays
from tests.stores import REGION, Served, fresh_tables

DAY = Day({"api": "u3"}, {"llama": (Timing(15, 200, 40_000),)})


@pytest.fixture(params=["memory", "local", "ministack"])
def days(request: pytest.FixtureRequest, stores: Served) -> Days:
    if request.param == "memory":
        return MemoryDays()
    return DynamoDays(fresh_tables(stores.url(request.param)), REGION)


def test_a_day_is_read_as_it_was_kept_and_only_the_days_that_are_asked_for(days: Days) -> None:
    assert days.get("2026-11-18") == (Day(), 0)
    for day in ("2026-11-17", "2026-11-18", "2026-12-01"):
        days.put(day, DAY, 0)
    assert days.get("2026-11-18") == (DAY, 1)
    assert days.between("2026-11-18", "2026-11-30") == {"2026-11-18": DAY}


def test_who_was_overtaken_looks_again_and_no_sample_is_lost(days: Days) -> None:
    with pytest.raises(Overtaken):
        days.put("2026-11-18", DAY, 3)
    days.put("2026-11-18", DAY, 0)
    with pytest.raises(Overtaken):
        days.put("2026-11-18", DAY, 0)
    others: list[Callable[[], object]] = [lambda: change(days, "2026-11-18", adding(5))]

    def while_another_adds(day: Day) -> Day:
        if others:
            others.pop()()
        return adding(6)(day)

    assert change(days, "2026-11-18", while_another_adds).runs == {"api": "u3.2d2"}
    assert days.get("2026-11-18")[0].runs == {"api": "u3.2d2"}


def adding(minute: int) -> Callable[[Day], Day]:
    return lambda day: Day({"api": with_sample(day.runs["api"], minute, "down")}, day.timings)
