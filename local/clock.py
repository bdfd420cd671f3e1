"""The time of this machine."""

import time


def now_ms() -> int:
    """In ms since 1970."""
    return time.time_ns() // 1_000_000
