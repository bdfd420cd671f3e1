"""How the service stands and stood, as one value: what the page, its JSON and the published files are made of."""

from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import Literal

import msgspec

from chalicelib.clock import Clock
from chalicelib.documents import Changed, Document, Documents
from chalicelib.refusal import Conflict
from chalicelib.status import minutes
from chalicelib.status.component import Component, must_be_sound
from chalicelib.status.incidents import STATUS, Incident, Incidents
from chalicelib.status.maintenance import Maintenance, Window
from chalicelib.status.minutes import DAY_MS, DAYS, Shares
from chalicelib.status.samples import Day, Days, Timing
from chalicelib.status.subscribers import Subscribers

COMPONENTS = "components"
FRESH_MS = 10_000
"""How long a process answers with what it has read."""

KNOWN_MINUTES = 5
"""Five rounds of the schedule: who has missed them all knows nothing any more."""

MOST_SHOWN = 50
SETTLED_DAYS = 2
"""Days before these are over for every clock, and read but once."""

Standing = Literal["up", "planned", "degraded", "down", "unknown"]
_WORST_FIRST: Sequence[Standing] = ("down", "degraded", "unknown", "planned", "up")


class DayShares(msgspec.Struct, frozen=True):
    """Minutes of a day, in UTC: those that were measured, by what was found, and those of which nothing is known."""

    date: str
    up: int
    degraded: int
    down: int
    planned: int
    unknown: int


class Speed(msgspec.Struct, frozen=True):
    """Medians of short questions that were timed, and of these the time to the first token that 95 % stayed under."""

    date: str
    questions: int
    first_token_ms: int
    first_token_p95_ms: int
    tokens_per_s: float


class ComponentView(msgspec.Struct, frozen=True):
    """`status`: by the last minutes, and by open incidents. `uptime_percent`: of the minutes that were measured and not
    planned; null where there are none. `measured_percent`: how many of all minutes were measured. Where it is not
    `watched`, only incidents tell how it is."""

    id: str
    name: str
    status: Standing
    watched: bool
    uptime_percent: float | None
    measured_percent: float
    days: tuple[DayShares, ...]
    speed: tuple[Speed, ...]


class Board(msgspec.Struct, frozen=True):
    """The status page. Instants are milliseconds since 1970, days are UTC's."""

    status: Standing
    region: str
    made_ms: int
    components: tuple[ComponentView, ...]
    incidents: tuple[Incident, ...]
    maintenance: tuple[Window, ...]


class Boards:
    """Of one region. Thread-safe."""

    def __init__(
        self,
        documents: Documents,
        days: Days,
        region: str,
        clock: Clock,
        unless_told: Sequence[Component],
    ) -> None:
        """`unless_told`: what is watched where the operator has not said."""
        self.incidents = Incidents(documents)
        self.maintenance = Maintenance(documents)
        self.subscribers = Subscribers(documents)
        self.documents = documents
        self.days = days
        self._region = region
        self._clock = clock
        self._unless_told = unless_told
        self._lock = Lock()
        self._settled: dict[str, Day] = {}
        self._made: Board | None = None

    def components(self) -> Sequence[Component]:
        """Raises StoreUnavailable."""
        held = self.documents.get(STATUS, COMPONENTS)
        return msgspec.json.decode(held.text, type=tuple[Component, ...]) if held else self._unless_told

    def ids(self) -> frozenset[str]:
        """Of all components. Raises StoreUnavailable."""
        return frozenset(each.id for each in self.components())

    def put_components(self, components: Sequence[Component]) -> None:
        """These, and no others. Raises Malformed, Conflict, StoreUnavailable."""
        must_be_sound(components)
        held = self.documents.get(STATUS, COMPONENTS)
        text = msgspec.json.encode(components).decode()
        try:
            self.documents.put(Document(STATUS, COMPONENTS, text, held.version if held else 0))
        except Changed:
            raise Conflict("Somebody else changed the components at the same time. Look, then repeat.") from None

    def latest(self) -> Board:
        """At most FRESH_MS old, however many ask. Raises StoreUnavailable."""
        with self._lock:
            if self._made is None or not 0 <= self._clock() - self._made.made_ms < FRESH_MS:
                self._made = self.read()
            return self._made

    def read(self) -> Board:
        """As it is now. Raises StoreUnavailable."""
        now_ms = self._clock()
        dates = minutes.days_until(now_ms)
        days = self._read_days(dates)
        open_incidents, shown = [], []
        for incident in self.incidents.all():
            if incident.is_open:
                open_incidents.append(incident)
            elif incident.last.at_ms > now_ms - DAYS * DAY_MS:
                shown.append(incident)
        windows = self.maintenance.all()
        components = self.components()
        views = tuple(_view(each, dates, days, open_incidents, windows, now_ms) for each in components)
        # Of what nobody watches, only incidents tell; that nothing else is known of it says nothing of the service.
        return Board(
            status=_worst(view.status for view in views if view.watched or view.status != "unknown"),
            region=self._region,
            made_ms=now_ms,
            components=views,
            incidents=tuple((*open_incidents, *shown)[:MOST_SHOWN]),
            maintenance=tuple(window for window in windows if window.ends_ms > now_ms - DAY_MS),
        )

    def _read_days(self, dates: Sequence[str]) -> Mapping[str, Day]:
        """All days at first, and later only the last ones: nobody changes the others any more."""
        missing = [date for date in dates[:-SETTLED_DAYS] if date not in self._settled]
        first = missing[0] if missing else dates[-SETTLED_DAYS]
        found = self.days.between(first, dates[-1])
        held = {date: found.get(date) or self._settled.get(date) or Day() for date in dates}
        self._settled = {date: held[date] for date in dates[:-SETTLED_DAYS]}
        return held


def _view(
    component: Component,
    dates: Sequence[str],
    days: Mapping[str, Day],
    incidents: Sequence[Incident],
    windows: Sequence[Window],
    now_ms: int,
) -> ComponentView:
    shares = {
        date: minutes.shares(days[date].runs.get(component.id, ""), minutes.passed_of(date, now_ms)) for date in dates
    }
    whole = minutes.total(shares.values())
    uptime = whole.uptime_permyriad
    return ComponentView(
        id=component.id,
        name=component.name,
        status=_standing(component, days, incidents, windows, now_ms),
        watched=component.watches != "nothing",
        uptime_percent=None if uptime is None else uptime / 100,
        measured_percent=_percent(whole),
        days=tuple(_day(date, each) for date, each in shares.items()),
        speed=tuple(
            speed_of(date, timings)
            for date in dates
            if (timings := days[date].timings.get(component.id, ()))
        ),
    )  # fmt: skip


def _standing(
    component: Component,
    days: Mapping[str, Day],
    incidents: Sequence[Incident],
    windows: Sequence[Window],
    now_ms: int,
) -> Standing:
    measured = _measured(component, days, now_ms)
    told: list[Standing] = [
        each.last.impact for each in incidents if component.id in each.components and each.last.impact != "none"
    ]
    found = _worst([measured, *told])
    # What is announced explains that nothing is known, or that it is away; not what an incident says beyond that.
    if not told and found != "up" and any(each.covers(component.id, now_ms) for each in windows):
        return "planned"
    # An incident says more than that nothing is known.
    return _worst(told) if told and measured == "unknown" else found


def _measured(component: Component, days: Mapping[str, Day], now_ms: int) -> Standing:
    """By its last sample, which may be yesterday's where a day has just begun."""
    minute, midnight_ms = minutes.minute_of(now_ms), now_ms - now_ms % DAY_MS
    reaches = [(now_ms, KNOWN_MINUTES)]
    if minute + 1 < KNOWN_MINUTES:
        reaches.append((midnight_ms - 1, KNOWN_MINUTES - minute - 1))
    for at_ms, reach in reaches:
        day = days.get(minutes.day_of(at_ms), Day())
        state = minutes.latest(day.runs.get(component.id, ""), minutes.minute_of(at_ms), reach)
        if state is not None:
            return state
    return "unknown"


def _worst(standings: Iterable[Standing]) -> Standing:
    """Of none at all: nothing is known."""
    return min(standings, key=_WORST_FIRST.index, default="unknown")


def _day(date: str, shares: Shares) -> DayShares:
    return DayShares(date, shares.up, shares.degraded, shares.down, shares.planned, shares.unknown)


def _percent(whole: Shares) -> float:
    """Rounded down, so that 100 means all of them."""
    return whole.measured * 10_000 // whole.passed / 100 if whole.passed else 0.0


def speed_of(date: str, timings: Sequence[Timing]) -> Speed:
    """Of a day's questions, of which there is one at least."""
    first = sorted(each.first_token_ms for each in timings)
    rates = sorted(each.tokens_per_ks for each in timings)
    return Speed(date, len(timings), _quantile(first, 50), _quantile(first, 95), _quantile(rates, 50) / 1_000)


def _quantile(ranked: Sequence[int], percent: int) -> int:
    """The nearest rank: one that was measured, not one in between."""
    return ranked[-(-len(ranked) * percent // 100) - 1]
