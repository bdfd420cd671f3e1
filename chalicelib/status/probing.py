"""From what was asked in a minute to its samples. Nothing is said of what was not asked: it stays unknown."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from chalicelib.placement.timing import Speed
from chalicelib.pool import Pool
from chalicelib.status.asking import Questions
from chalicelib.status.board import Boards
from chalicelib.status.component import Component
from chalicelib.status.minutes import State, day_of, minute_of, with_sample
from chalicelib.status.samples import Day, Timing, change

TIMED_EVERY = 15
"""Minutes between two questions that are timed."""


class Asked(msgspec.Struct, frozen=True):
    """All pools, by name, and how places of their targets answered that were asked: one that might sleep is not."""

    pools: Mapping[str, Pool]
    well: Mapping[str, bool]  # by Target.probe_place

    def state(self, names: Iterable[str]) -> State | None:
        """Of these pools together: down where no target is well, degraded where some are not; None: none was asked."""
        found = [self.pools[name] for name in names if name in self.pools]
        places = {target.probe_place for pool in found for target in pool.targets}
        answers = [self.well[place] for place in places if place in self.well]
        if not answers:
            return None
        if all(answers):
            return "up"
        # Where one sleeps, nobody knows whether it could have run a call.
        return "degraded" if any(answers) or len(answers) < len(places) else "down"


def sample(boards: Boards, questions: Questions, asked: Asked, now_ms: int) -> Day:
    """Ask what else is to be asked, and keep the minute's samples; its day as it is then. Raises StoreUnavailable."""
    components, windows, minute, today = (
        boards.components(),
        boards.maintenance.all(),
        minute_of(now_ms),
        day_of(now_ms),
    )
    due = _to_be_timed(components, asked, boards.days.get(today)[0], minute)
    answered, speeds = questions.ask(_urls(components, questions.urls), due)
    states: dict[str, State] = {}
    for each in components:
        state: State | None
        if each.watches == "pools":
            state = asked.state(each.pools)
        elif each.id in answered:
            state = "up" if answered[each.id] else "down"
        else:
            continue
        if state is not None:
            planned = state != "up" and any(window.covers(each.id, now_ms) for window in windows)
            states[each.id] = "planned" if planned else state
    return change(boards.days, today, lambda day: _with(day, minute, states, speeds))


def _with(day: Day, minute: int, states: Mapping[str, State], speeds: Mapping[str, Speed]) -> Day:
    runs, timings = {**day.runs}, {**day.timings}
    for component, state in states.items():
        runs[component] = with_sample(runs.get(component, ""), minute, state)
    for component, speed in speeds.items():
        before = timings.get(component, ())
        if _is_due(before, minute):  # or somebody else has timed it meanwhile
            timings[component] = (*before, Timing(minute, speed.first_token_ms, speed.tokens_per_ks))
    return Day(runs, timings)


def _urls(components: Sequence[Component], own: Mapping[str, str]) -> dict[str, str]:
    urls = {each.id: each.url or own.get(each.watches, "") for each in components}
    return {component: url for component, url in urls.items() if url}


def _to_be_timed(components: Sequence[Component], asked: Asked, day: Day, minute: int) -> dict[str, Pool]:
    """The first pool of each that is due."""
    found = {}
    for each in components:
        pool = next((asked.pools[name] for name in each.pools if name in asked.pools), None)
        if each.timed and pool is not None and _is_due(day.timings.get(each.id, ()), minute):
            found[each.id] = pool
    return found


def _is_due(before: Sequence[Timing], minute: int) -> bool:
    return not before or minute - before[-1].minute >= TIMED_EVERY
