"""The status page from a history: with gaps, incidents and maintenance. What is not known is never called up."""

import pytest

from chalicelib.refusal import Conflict, Malformed, NotFound
from chalicelib.status.board import FRESH_MS, KNOWN_MINUTES
from chalicelib.status.component import Component
from chalicelib.status.incidents import MOST_UPDATES, NewIncident, NewUpdate
from chalicelib.status.maintenance import NewWindow
from chalicelib.status.minutes import DAY_MS, MINUTE_MS, day_of
from tests.status.worlds import AWAY, HALF, LLAMA, NOBODY, T0, World

KNOWN = {"llama"}


def test_a_gap_is_unknown_and_counts_for_no_uptime() -> None:
    world = World()
    for well in (AWAY, AWAY):
        world.minute(well)
    world.now_ms += 5 * MINUTE_MS
    for well in (HALF, HALF):
        world.minute(well)
    today = world.view().days[-1]
    assert (today.down, today.degraded, today.up) == (2, 2, 0)
    assert today.unknown == 11 * 60 + 6 + 5
    assert world.view().uptime_percent == 50.0
    assert world.view().measured_percent == 0.0  # four minutes of ninety days
    assert [day.unknown for day in world.view().days[:-1]] == [1_440] * 89


def test_what_nobody_asked_is_unknown() -> None:
    world = World()
    world.minute(NOBODY)
    assert world.view().status == "unknown"
    assert world.view().uptime_percent is None
    assert world.board().status == "unknown"


def test_a_pool_that_is_gone_is_unknown() -> None:
    world = World()
    world.minute(pools=())
    assert world.view().status == "unknown"


def test_what_was_measured_holds_for_some_minutes_and_then_is_not_known() -> None:
    world = World()
    world.minute()
    world.now_ms += (KNOWN_MINUTES - 2) * MINUTE_MS
    assert world.view().status == "up"
    world.now_ms += MINUTE_MS
    assert world.view().status == "unknown"


def test_a_new_day_begins_with_what_was_measured_before_midnight() -> None:
    world = World()
    world.now_ms = T0 - T0 % DAY_MS + DAY_MS - 2 * MINUTE_MS
    world.minute(AWAY)
    world.minute(AWAY)
    world.now_ms += 2 * MINUTE_MS
    assert day_of(world.now_ms) == "2026-11-19"
    assert world.view().status == "down"
    assert (world.view().days[-1].unknown, world.view().days[-2].down) == (2, 2)
    world.now_ms += 3 * MINUTE_MS
    assert world.view().status == "unknown"


def test_days_are_shown_for_as_long_as_they_are_and_the_same_read_once_or_again() -> None:
    world = World()
    for _ in range(100):
        world.minute()
        world.now_ms += DAY_MS - MINUTE_MS
        kept = world.view()
        world.boards._settled.clear()
        assert world.view() == kept
    assert len(world.view().days) == 90
    assert sum(day.up for day in world.view().days) == 89  # today's is yet to come


def test_what_is_announced_is_planned_and_not_down() -> None:
    world = World()
    window = NewWindow("New GPUs", "Models restart.", ("llama",), T0 + MINUTE_MS, T0 + 3 * MINUTE_MS)
    world.boards.maintenance.announce(window, KNOWN, "a1", T0)
    for _ in range(2):
        world.minute(AWAY)
    assert world.view().status == "planned"
    assert world.board().status == "planned"
    for well in (NOBODY, AWAY):
        world.minute(well)
    today = world.view().days[-1]
    assert (today.down, today.planned) == (2, 1)  # the minute before, and the one after
    assert world.view().uptime_percent == 0.0


def test_what_runs_while_it_is_maintained_is_up() -> None:
    world = World()
    window = NewWindow("New GPUs", "Models restart.", ("llama",), T0, T0 + 5 * MINUTE_MS)
    world.boards.maintenance.announce(window, KNOWN, "a1", T0)
    world.minute()
    assert (world.view().days[-1].up, world.view().status) == (1, "up")


@pytest.mark.parametrize(
    ("begins_ms", "ends_ms"), [(T0 - 1, T0 + 5), (T0 + 5, T0 + 5), (T0, T0 + 8 * DAY_MS), (T0 + 400 * DAY_MS,) * 2]
)
def test_nothing_is_announced_afterwards_or_for_ever(begins_ms: int, ends_ms: int) -> None:
    world = World()
    with pytest.raises(Malformed):
        world.boards.maintenance.announce(NewWindow("x", "y", ("llama",), begins_ms, ends_ms), KNOWN, "a1", T0)


def test_maintenance_that_is_taken_back_while_it_runs_ends_then() -> None:
    world = World()
    window = NewWindow("x", "y", ("llama",), T0, T0 + 60 * MINUTE_MS)
    made = world.boards.maintenance.announce(window, KNOWN, "a1", T0)
    world.minute(AWAY)
    world.boards.maintenance.take_back(made.id, world.now_ms)
    world.minute(AWAY)
    assert (world.view().days[-1].planned, world.view().days[-1].down) == (1, 1)
    with pytest.raises(NotFound):
        world.boards.maintenance.take_back(made.id, world.now_ms)


def test_an_incident_says_what_probes_do_not_see_until_it_is_resolved() -> None:
    world = World(LLAMA, Component("sealing", "Sealing", "nothing"))
    world.minute()
    new = NewIncident("Wrong answers", "They make no sense.", ("llama", "sealing"), "down")
    made = world.boards.incidents.open(new, {"llama", "sealing"}, "a1", world.now_ms)
    assert {view.status for view in world.board().components} == {"down"}
    world.minute()
    assert world.view().days[-1].up == 2  # days are what was measured
    world.boards.incidents.add(made.id, NewUpdate("monitoring", "Better.", "degraded"), set(), world.now_ms)
    assert world.view().status == "degraded"
    world.boards.incidents.add(made.id, NewUpdate("resolved", "Well."), set(), world.now_ms)
    assert world.view().status == "up"
    assert world.view("sealing").status == "unknown"
    assert world.board().status == "up"  # nobody watches sealing
    world.now_ms += 91 * DAY_MS
    assert world.board().incidents == ()


def test_updates_are_in_the_order_in_which_they_were_told_whatever_the_clocks_say() -> None:
    world = World()
    made = world.boards.incidents.open(NewIncident("x", "y"), KNOWN, "a1", T0)
    world.boards.incidents.add(made.id, NewUpdate("identified", "1"), KNOWN, T0 - 5_000)
    told = world.boards.incidents.add(made.id, NewUpdate("monitoring", "2"), KNOWN, T0 - 4_000)
    assert [each.step for each in told.updates] == ["investigating", "identified", "monitoring"]
    assert sorted({each.at_ms for each in told.updates}) == [each.at_ms for each in told.updates]


def test_an_incident_takes_so_many_updates_and_of_what_there_is() -> None:
    world = World()
    made = world.boards.incidents.open(NewIncident("x", "y"), KNOWN, "a1", T0)
    for _ in range(MOST_UPDATES - 1):
        world.boards.incidents.add(made.id, NewUpdate("identified", "more"), KNOWN, T0)
    with pytest.raises(Conflict):
        world.boards.incidents.add(made.id, NewUpdate("identified", "more"), KNOWN, T0)
    with pytest.raises(NotFound):
        world.boards.incidents.add("no", NewUpdate("identified", "more"), KNOWN, T0)
    with pytest.raises(Malformed, match="mars"):
        world.boards.incidents.open(NewIncident("x", "y", ("mars",)), KNOWN, "a2", T0)


def test_however_many_look_the_store_is_asked_once_in_so_long() -> None:
    world = World()
    first = world.boards.latest()
    world.minute(AWAY)
    world.now_ms = T0 + FRESH_MS - 1
    assert world.boards.latest() is first
    world.now_ms = T0 + FRESH_MS
    assert world.boards.latest().components[0].status == "down"


def test_a_model_is_timed_every_quarter_of_an_hour_and_its_days_tell_medians() -> None:
    world = World(Component("llama", "Llama", "pools", pools=("llama",), timed=True))
    for _ in range(31):
        world.minute()
    assert len(world.speeds) == 3
    (speed,) = world.view().speed
    assert (speed.questions, speed.first_token_ms, speed.first_token_p95_ms, speed.tokens_per_s) == (3, 202, 203, 40.0)


@pytest.mark.parametrize(
    "wrong",
    [
        (LLAMA, LLAMA),
        (Component("a", "A", "pools"),),
        (Component("a", "A", "url"),),
        (Component("a", "A", "api", url="https://x.example"),),
        (Component("a", "A", "api", timed=True),),
    ],
)
def test_components_fit_together(wrong: tuple[Component, ...]) -> None:
    with pytest.raises(Malformed):
        World(*wrong)
