"""Hours and days, in UTC; instants in milliseconds since 1970. A bucket holds its first instant, and not its end."""

from collections.abc import Mapping
from typing import Literal

Span = Literal["hour", "day"]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LONG_MS: Mapping[Span, int] = {"hour": HOUR_MS, "day": DAY_MS}


def start(at_ms: int, span: Span) -> int:
    """The first instant of the bucket that holds this one."""
    return at_ms - at_ms % LONG_MS[span]


def end(at_ms: int, span: Span) -> int:
    """The first bucket's edge at or after this instant."""
    return -(-at_ms // LONG_MS[span]) * LONG_MS[span]
