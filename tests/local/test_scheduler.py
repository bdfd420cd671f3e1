"""Chalice schedules, run locally."""

from typing import Any

import pytest
from chalice.app import Chalice, CloudWatchEvent

from local.scheduler import Unschedulable, period_s, schedules


@pytest.mark.parametrize(
    ("expression", "seconds"), [("rate(1 minute)", 60), ("rate(5 minutes)", 300), ("rate(1 hour)", 3600)]
)
def test_a_rate_is_a_period(expression: str, seconds: int) -> None:
    assert period_s(expression) == seconds


def test_what_cannot_be_run_locally_is_said() -> None:
    with pytest.raises(Unschedulable, match=r"cron\(0 10"):
        period_s("cron(0 10 * * ? *)")


def test_an_apps_schedules_are_called_with_eventbridges_event() -> None:
    app = Chalice("stand-in")
    seen: list[CloudWatchEvent] = []

    @app.schedule("rate(2 minutes)", name="sweep")
    def sweep(event: Any) -> None:
        seen.append(event)

    (schedule,) = schedules(app)
    schedule.run()

    assert (schedule.name, schedule.period_s) == ("sweep", 120)
    assert seen[0].source == "aws.events"


def test_the_apps_own_schedules_are_run() -> None:
    from app import app

    assert [(each.name, each.period_s) for each in schedules(app)] == [
        ("reaper", 60),
        ("prober", 60),
        ("publisher", 60),
        ("notary", 3600),
        ("usage", 300),
        ("eraser", 300),
    ]
