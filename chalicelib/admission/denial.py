"""One limit's no, and which of several noes the caller should hear."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from chalicelib.admission.limits import Unit
from chalicelib.refusal import Crowded, OverBudget, QuotaExhausted, RateLimited, Refusal, TooLarge

CROWD_HINT_MS = 1_000
"""When to look again for a free place: nobody knows when a request of one's own will end."""

Kind = Literal["size", "plan", "tenant", "rate", "crowd"]
"""Over a limit by itself; a plan's or the tenant's own budget used up; a rate; all leases in use."""

_RANK: Final[dict[Kind, int]] = {
    "crowd": 0,
    "rate": 1,
    "plan": 2,
    "tenant": 3,
    "size": 4,
}  # of equal waits, the larger is told

_UNITS: Final[dict[Unit, str]] = {
    "requests": "requests",
    "tokens": "tokens",
    "micro_usd": "micro-dollars",
    "gpu_ms": "GPU milliseconds",
}


class Denial(msgspec.Struct, frozen=True):
    """Why one limit denies, and the exact time until it would not."""

    kind: Kind
    limit: str
    unit: Unit
    remaining: int
    wait_ms: int = CROWD_HINT_MS
    quota: int = 0
    period_ms: int = 0  # of a rate
    window: str = ""  # of a budget


class LimitReached(Exception):
    """At least one limit denies."""

    def __init__(self, denials: tuple[Denial, ...]) -> None:
        super().__init__("a limit denies")
        self.denials = denials


def strictest(denials: Iterable[Denial]) -> Denial:
    """The one to wait for: the longest wait. Neither order nor grouping nor repetition of denials matters."""
    # All the rest only makes the order total, so that equal waits cannot depend on who came first.
    return max(denials, key=lambda each: (each.wait_ms, _RANK[each.kind], msgspec.structs.astuple(each)))


def refusal(denial: Denial) -> Refusal:
    """The denial as the caller hears it."""
    unit = _UNITS[denial.unit]
    match denial.kind:
        case "size":
            text = f"This call needs more {unit} than limit '{denial.limit}' ever allows at once, {denial.remaining}."
            return TooLarge(text, limit=denial.limit, remaining=denial.remaining)
        case "crowd":
            text = f"All {denial.quota} of your concurrent requests are in flight. Wait for one of them to end."
            return Crowded(text, retry_in_ms=denial.wait_ms, limit=denial.limit, remaining=denial.remaining)
        case "rate":
            text = (
                f"Rate limit '{denial.limit}' ({denial.quota} {unit} per {_period(denial.period_ms)}) is exceeded: "
                f"{denial.remaining} remain. This call passes in {denial.wait_ms} ms."
            )
            return RateLimited(text, retry_in_ms=denial.wait_ms, limit=denial.limit, remaining=denial.remaining)
        case "plan":
            text = (
                f"Your plan's quota '{denial.limit}' of {denial.quota} {unit} is used up for {denial.window} (UTC): "
                f"{denial.remaining} remain."
            )
            return QuotaExhausted(text, retry_in_ms=denial.wait_ms, limit=denial.limit, remaining=denial.remaining)
        case "tenant":
            text = (
                f"Your budget '{denial.limit}' of {denial.quota} {unit} is used up for {denial.window} (UTC): "
                f"{denial.remaining} remain."
            )
            return OverBudget(text, retry_in_ms=denial.wait_ms, limit=denial.limit, remaining=denial.remaining)


def _period(period_ms: int) -> str:
    for name, size_ms in (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000)):
        if period_ms % size_ms == 0:
            count = period_ms // size_ms
            return name if count == 1 else f"{count} {name}s"
    return f"{period_ms} ms"
