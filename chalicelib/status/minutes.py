"""A day of samples as one text, and what it says. A law for every reader: a minute without a sample is unknown.

A day is a text of at most 1,440 letters, one for each of its minutes in UTC. It is kept by its runs: `u720.5d3` is
twelve hours up, five minutes of which nobody knows anything, and three down. What is missing at the end is not known.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import msgspec

MINUTES = 1_440
MINUTE_MS = 60_000
DAY_MS = MINUTES * MINUTE_MS
DAYS = 90
"""That are shown."""

State = Literal["up", "planned", "degraded", "down"]
UNKNOWN = "."
LETTERS: dict[State, str] = {"up": "u", "planned": "p", "degraded": "g", "down": "d"}
_BAD = ".upgd"
"""From what is not known to what is worst: of two samples of one minute the worse one counts."""

_RUN = re.compile(r"([.upgd])([0-9]{1,4})")


class Shares(msgspec.Struct, frozen=True):
    """Minutes of a day, or of many; together all that have passed."""

    up: int = 0
    degraded: int = 0
    down: int = 0
    planned: int = 0
    unknown: int = 0

    @property
    def measured(self) -> int:
        return self.up + self.degraded + self.down + self.planned

    @property
    def passed(self) -> int:
        return self.measured + self.unknown

    @property
    def uptime_permyriad(self) -> int | None:
        """Of 10,000 measured minutes, how many it ran in; what was planned counts for neither. Rounded down, so that
        10,000 means that it never was down. None: nothing was measured."""
        counted = self.up + self.degraded + self.down
        return (self.up + self.degraded) * 10_000 // counted if counted else None


def minutes_of(runs: str) -> str:
    """The letters. What makes no sense, of another version of us, is not known."""
    letters = "".join([letter * int(count) for letter, count in _RUN.findall(runs)])
    return letters[:MINUTES]


def runs_of(letters: str) -> str:
    """As they are kept."""
    return "".join([f"{run[0][0]}{len(run[0])}" for run in re.finditer(r"(.)\1*", letters.rstrip(UNKNOWN))])


def with_sample(runs: str, minute: int, state: State) -> str:
    """The same day, with this sample more. In which order samples come, and how often, makes no difference."""
    letters = minutes_of(runs).ljust(minute + 1, UNKNOWN)
    worse = max(letters[minute], LETTERS[state], key=_BAD.index)
    return runs_of(letters[:minute] + worse + letters[minute + 1 :])


def shares(runs: str, passed: int) -> Shares:
    """Of the day's first minutes: so many have passed. A sample of a later one does not count yet."""
    letters = minutes_of(runs)[:passed]
    counted = {state: letters.count(letter) for state, letter in LETTERS.items()}
    return Shares(**counted, unknown=passed - sum(counted.values()))


def total(each: Iterable[Shares]) -> Shares:
    found = list(each)
    return Shares(*(sum(getattr(one, field) for one in found) for field in Shares.__struct_fields__))


def day_of(at_ms: int) -> str:
    """As `2026-11-18`, in UTC."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).date().isoformat()


def start_ms(day: str) -> int:
    """The day's first instant."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * DAY_MS


def minute_of(at_ms: int) -> int:
    """Of its day."""
    return at_ms % DAY_MS // MINUTE_MS


def passed_of(day: str, now_ms: int) -> int:
    """How many whole minutes of the day have passed: the one that runs is not over, and may yet have its sample."""
    return min(max((now_ms - start_ms(day)) // MINUTE_MS, 0), MINUTES)


def days_until(now_ms: int, count: int = DAYS) -> list[str]:
    """So many, the last of which is today."""
    today = date.fromisoformat(day_of(now_ms))
    return [(today - timedelta(days=back)).isoformat() for back in reversed(range(count))]


def latest(runs: str, minute: int, reach: int) -> State | None:
    """The last sample of the `reach` minutes until this one, itself included; None: there is none."""
    letters = minutes_of(runs)[: minute + 1]
    recent = letters[max(minute + 1 - reach, 0) :].rstrip(UNKNOWN)
    return next((state for state, letter in LETTERS.items() if letter == recent[-1]), None) if recent else None
