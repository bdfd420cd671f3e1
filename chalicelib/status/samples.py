"""Days of samples as they are kept: one item for a day, of all components, for a while longer than they are shown."""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from chalicelib.refusal import StoreUnavailable
from chalicelib.status.minutes import DAYS

KEPT_DAYS = DAYS + 5
TRIES = 5


class Timing(msgspec.Struct, frozen=True, array_like=True):
    """How fast a model answered a short question."""

    minute: int  # of the day
    first_token_ms: int
    tokens_per_ks: int  # tokens in a thousand seconds


class Day(msgspec.Struct, frozen=True):
    """Of all components, by id: the runs of their minutes, and how fast they were."""

    runs: Mapping[str, str] = {}
    timings: Mapping[str, tuple[Timing, ...]] = {}


class Overtaken(Exception):
    """Somebody else has written the day since it was read."""


class Days(Protocol):
    """Of one region. Every method may raise StoreUnavailable."""

    def get(self, day: str) -> tuple[Day, int]:
        """The day and its version; 0: there is none yet. Strongly consistent."""

    def put(self, day: str, changed: Day, version: int) -> None:
        """Raises Overtaken where this is not its version any more."""

    def between(self, first: str, last: str) -> Mapping[str, Day]:
        """Both included; those that there are."""


def change(days: Days, day: str, by: Callable[[Day], Day]) -> Day:
    """The day as it is then; `by` is called again where somebody else was quicker. Raises StoreUnavailable."""
    for _ in range(TRIES):
        before, version = days.get(day)
        after = by(before)
        if after == before:
            return after
        try:
            days.put(day, after, version)
            return after
        except Overtaken:
            continue
    raise StoreUnavailable("The day's samples are being changed too quickly.")
