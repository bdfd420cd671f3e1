"""What a tenant may use: rates, budgets and a concurrency cap. Values only; the arithmetic is next door."""

from typing import Literal

import msgspec

from chalicelib.ledger.units import Unit, Units

__all__ = ["DEFAULT_LIMITS", "SLACK_MS", "Budget", "Limits", "Rate", "ShareOfRate", "Unit", "Units", "WindowKind"]

WindowKind = Literal["minute", "hour", "day", "month"]

SLACK_MS = 250
"""Hysteresis between the busy and the idle branch of a rate (see docs/admission.md)."""


class Rate(msgspec.Struct, frozen=True):
    """`count` units per `period_ms`, with bursts up to `burst` units (GCRA, ITU-T I.371)."""

    name: str
    unit: Unit
    count: int
    period_ms: int
    burst: int


class ShareOfRate(Rate, frozen=True):
    """What one of several meters has of a rate: a rate of its own, under the name that the whole has in each."""

    key: str


class Budget(msgspec.Struct, frozen=True):
    """At most `limit` units per calendar window (UTC).

    A soft budget (`hard=False`) is counted and reported, and denies nothing. `source` decides the
    caller's next move when a hard one is used up: change plan, or raise its own budget.
    """

    name: str
    unit: Unit
    limit: int
    window: WindowKind
    hard: bool = True
    source: Literal["plan", "tenant"] = "plan"


class Limits(msgspec.Struct, frozen=True):
    """All limits of one tenant in one region. Names are unique over rates and budgets, 1 to 16 of [a-z0-9_]."""

    rates: tuple[Rate, ...]
    budgets: tuple[Budget, ...]
    in_flight: int


DEFAULT_LIMITS = Limits(
    rates=(
        # 10 requests/s for 30 s from rest: 30 s x 1.5/s + 255 = 300. The longer rates carry a burst that
        # lets exactly such a burst through; over time each holds its own average.
        Rate("second", "requests", count=3, period_ms=2_000, burst=255),
        Rate("minute", "requests", count=60, period_ms=60_000, burst=300),
        Rate("hour", "requests", count=1_000, period_ms=3_600_000, burst=1_000),
        Rate("tpm", "tokens", count=120_000, period_ms=60_000, burst=240_000),
    ),
    budgets=(Budget("month", "tokens", limit=20_000_000, window="month"),),
    in_flight=8,
)
