"""Time: an argument wherever it is needed, and that of this machine."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Milliseconds since 1970."""


def now_ms() -> int:
    """A `Clock`."""
    return time.time_ns() // 1_000_000
