"""How long requests took: how many of them in which step, each of at most a 32nd of what it begins with.

So a percentile is at most a 64th (1.6 %) beside the true one, exact below 64 ms, and two counts add up to the one that
both would have made. A family of histograms that is known as HDR's (http://hdrhistogram.org).
"""

from collections.abc import Mapping

_BITS = 5
_EXACT = 2 << _BITS

Steps = Mapping[int, int]
"""Step -> how many."""


def step_of(ms: int) -> int:
    """Which step this many milliseconds are in. Never falls as they grow."""
    if ms < _EXACT:
        return max(0, ms)
    doublings = ms.bit_length() - _BITS - 1
    return (doublings << _BITS) + (ms >> doublings)


def middle_of(step: int) -> int:
    """The milliseconds in the middle of a step."""
    if step < _EXACT:
        return step
    doublings = (step >> _BITS) - 1
    return (((step & (1 << _BITS) - 1) + (1 << _BITS)) << doublings) + (1 << doublings >> 1)


def percentile(steps: Steps, percent: int) -> int | None:
    """About the smallest time that so many percent do not exceed (nearest rank); None of none."""
    rank = -(-sum(steps.values()) * percent // 100)
    for step in sorted(steps):
        rank -= steps[step]
        if rank <= 0:
            return middle_of(step)
    return None
