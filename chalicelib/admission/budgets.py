"""Budgets: at most n units per calendar window, in UTC.

A window's id is its start, written so that ids of one kind sort by time: "2026-11", "2026-11-21",
"2026-11-21T10", "2026-11-21T10:05".
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from chalicelib.admission.limits import Budget, Unit, WindowKind

MINUTE_MS = 60_000

_FORMAT: Final[dict[WindowKind, str]] = {
    "minute": "%Y-%m-%dT%H:%M",
    "hour": "%Y-%m-%dT%H",
    "day": "%Y-%m-%d",
    "month": "%Y-%m",
}
_CODE: Final[dict[WindowKind, str]] = {"minute": "i", "hour": "h", "day": "d", "month": "m"}
_KIND: Final[dict[str, WindowKind]] = {code: kind for kind, code in _CODE.items()}
_UNIT: Final[dict[str, Unit]] = {"r": "requests", "t": "tokens", "m": "micro_usd", "g": "gpu_ms"}
_STEP: Final[dict[WindowKind, timedelta]] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "month": timedelta(days=31),  # from the first of a month always into the next
}


@lru_cache(maxsize=4096)
def key(budget: Budget) -> str:
    """The budget's name in the meter. It holds unit and window: another unit is another count."""
    return f"{budget.name}.{budget.unit[0]}{_CODE[budget.window]}"


def unit_of(budget_key: str) -> Unit:
    return _UNIT[budget_key[-2]]


def kind_of(budget_key: str) -> WindowKind:
    return _KIND[budget_key[-1]]


def window_id(kind: WindowKind, now_ms: int) -> str:
    """The window that holds this instant."""
    return _window_id(kind, now_ms // MINUTE_MS)


@lru_cache(maxsize=1024)
def _window_id(kind: WindowKind, minutes: int) -> str:
    return datetime.fromtimestamp(minutes * 60, UTC).strftime(_FORMAT[kind])


@lru_cache(maxsize=1024)
def start_ms(kind: WindowKind, window: str) -> int:
    return _ms(_start(kind, window))


@lru_cache(maxsize=1024)
def end_ms(kind: WindowKind, window: str) -> int:
    """The first instant after the window."""
    after = _start(kind, window) + _STEP[kind]
    return _ms(after.replace(day=1) if kind == "month" else after)


def _start(kind: WindowKind, window: str) -> datetime:
    # Not by strptime: its first use loads the names of days in every locale, for which a first request would wait.
    return datetime.fromisoformat(f"{window}-01" if kind == "month" else window).replace(tzinfo=UTC)


def _ms(instant: datetime) -> int:
    # Whole minutes, so integer division is exact; timestamp() would go through a float.
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
