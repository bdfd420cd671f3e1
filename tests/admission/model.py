"""What admission should do, said plainly and without looking at how it does it.

Rates are leaky buckets in exact fractions; windows are sums over requests; time is civil time. It shares the
vocabulary of limits.py with the code, and nothing else. Where the code may choose (a rate withholds its slack),
the model has a bracket: what must be denied, and what may be.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction

from chalicelib.admission.limits import SLACK_MS, Budget, Limits, Rate, Units
from chalicelib.refusal import Crowded, OverBudget, QuotaExhausted, RateLimited, Refusal

WindowOf = tuple[str, str, str, tuple[int, ...]]
"""Budget name, unit, kind of window, and the window's start in civil time."""

_PARTS = {"month": 2, "day": 3, "hour": 4, "minute": 5}
_ONE_US = Fraction(1, 1_000)


def window_of(budget: Budget, now_ms: int) -> WindowOf:
    civil = datetime.fromtimestamp(now_ms / 1_000, UTC).timetuple()[: _PARTS[budget.window]]
    return budget.name, budget.unit, budget.window, tuple(civil)


@dataclass
class Bucket:
    """Units that have not drained yet, and every admission there was."""

    level: Fraction = Fraction(0)
    at_ms: int = 0
    poured: int = 0  # how often: each admission may be rounded up by a microsecond
    history: list[tuple[int, int]] = field(default_factory=list)

    def drain(self, rate: Rate, now_ms: int) -> None:
        self.level = max(Fraction(0), self.level - Fraction((now_ms - self.at_ms) * rate.count, rate.period_ms))
        self.at_ms = now_ms


@dataclass
class Request:
    """One that was admitted."""

    lease_id: str
    units: Units
    admitted_ms: int
    expires_ms: int
    windows: list[WindowOf]
    held: bool = True  # its lease is on the meter
    charged: Units | None = None  # what its entry says, once there is one
    outcome: str = ""
    late: Units | None = None

    def weighs(self, unit: str) -> int:
        amount: int = getattr(self.units if self.held or self.charged is None else self.charged, unit)
        return amount


@dataclass
class Model:
    limits: Limits
    epoch: int
    now_ms: int
    requests: dict[str, Request] = field(default_factory=dict)
    buckets: dict[tuple[str, str, int, int], Bucket] = field(default_factory=dict)

    # Questions

    def in_flight(self) -> int:
        return sum(request.held for request in self.requests.values())

    def expired(self) -> list[Request]:
        return [request for request in self.requests.values() if request.held and request.expires_ms < self.now_ms]

    def used(self, window: WindowOf) -> int:
        return sum(request.weighs(window[1]) for request in self.requests.values() if window in request.windows)

    def windows(self) -> set[WindowOf]:
        return {window for request in self.requests.values() for window in request.windows}

    def impossible(self, limits: Limits, units: Units) -> bool:
        return any(units.of(rate.unit) > rate.burst for rate in limits.rates) or any(
            budget.hard and units.of(budget.unit) > budget.limit for budget in limits.budgets
        )

    def must_deny(self, units: Units) -> set[type[Refusal]]:
        return {*self._over_budgets(units), *self._over_rates(units, withheld_ms=0)}

    def may_deny(self, units: Units) -> set[type[Refusal]]:
        """Besides those for a crowd."""
        return {*self._over_budgets(units), *self._over_rates(units, withheld_ms=SLACK_MS)}

    def crowded(self, *, counting_expired: bool) -> set[type[Refusal]]:
        count = self.in_flight() - (0 if counting_expired else len(self.expired()))
        return {Crowded} if count >= self.limits.in_flight else set()

    def _over_budgets(self, units: Units) -> Iterator[type[Refusal]]:
        for budget in self.limits.budgets:
            amount = units.of(budget.unit)
            if budget.hard and amount and self.used(window_of(budget, self.now_ms)) + amount > budget.limit:
                yield QuotaExhausted if budget.source == "plan" else OverBudget

    def _over_rates(self, units: Units, withheld_ms: int) -> Iterator[type[Refusal]]:
        for rate in self.limits.rates:
            amount = units.of(rate.unit)
            bucket = self._bucket(rate)
            slack = Fraction(0)
            if withheld_ms:
                slack = (withheld_ms + (bucket.poured + 3) * _ONE_US) * rate.count / rate.period_ms
            if amount and bucket.level + amount > rate.burst - slack:
                yield RateLimited

    def _bucket(self, rate: Rate) -> Bucket:
        bucket = self.buckets.setdefault((rate.name, rate.unit, rate.count, rate.period_ms), Bucket())
        bucket.drain(rate, self.now_ms)
        return bucket

    # Events

    def admitted(self, lease_id: str, units: Units, lease_ms: int) -> None:
        windows = [window_of(budget, self.now_ms) for budget in self.limits.budgets if units.of(budget.unit)]
        self.requests[lease_id] = Request(lease_id, units, self.now_ms, self.now_ms + lease_ms, windows)
        for rate in self.limits.rates:
            amount = units.of(rate.unit)
            if amount:
                bucket = self._bucket(rate)
                bucket.level += amount
                bucket.poured += 1
                bucket.history.append((self.now_ms, amount))

    def ended(self, request: Request, outcome: str, charged: Units) -> None:
        """Its entry was written; the first one counts."""
        if request.charged is None:
            request.outcome, request.charged = outcome, charged


def assert_curve(history: list[tuple[int, int]], burst: int, count: int, period_ms: int) -> None:
    """No interval holds more than the burst and what drained meanwhile. `history`: (milliseconds, units), in order."""
    # With drained(t) = t * count / period: for all i <= j, units i..j <= burst + drained(j) - drained(i).
    before, lowest = Fraction(0), None
    for at_ms, units in history:
        drained = Fraction(at_ms * count, period_ms)
        lowest = before - drained if lowest is None else min(lowest, before - drained)
        before += units
        assert before - drained - lowest <= burst, f"over the curve at {at_ms}"
