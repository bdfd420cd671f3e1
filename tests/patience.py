"""How long a test waits for what happens at once unless the code is broken.

Patience is a guard against a test that hangs, on a machine that has ten times more to do than it can. It proves
nothing, so it may be long. That one thing comes before another is arranged by gates and events, never by time.
"""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 120.0
_LOOK_AGAIN_S = 0.02

T = TypeVar("T")


def until(look: Callable[[], T], good: Callable[[T], bool] = bool) -> T:
    """Look again and again, where nobody tells, till what is seen is good; what was seen then."""
    end = time.monotonic() + PATIENCE_S
    while not good(seen := look()):
        assert time.monotonic() < end, f"it never came to pass: {seen!r}"
        time.sleep(_LOOK_AGAIN_S)
    return seen
