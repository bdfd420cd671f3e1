"""What must hold of a divided tenant, from the log of admissions alone: it knows nothing of shards, shares or books.

It has the vocabulary of limits, time in milliseconds, and exact fractions. Limits are known by the version of the
document that set them; while a change is on its way, the larger of what was and what will be is allowed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from chalicelib.admission.limits import Limits, Rate, Units


@dataclass
class Lease:
    version: int
    units: Units
    windows: Mapping[str, tuple[str, int]]  # budget's name -> window, units


@dataclass
class Checker:
    of: dict[int, Limits]  # version -> limits
    current: int
    floor: int = 0  # no admission under an earlier epoch, ever since
    log: dict[Rate, list[tuple[int, int]]] = field(default_factory=dict)  # with burst 0: (at, units)
    used: dict[tuple[str, str], int] = field(default_factory=dict)  # (budget's name, window) -> units
    live: dict[str, Lease] = field(default_factory=dict)

    def change(self, limits: Limits) -> int:
        self.current += 1
        self.of[self.current] = limits
        return self.current

    def admitted(self, lease_id: str, lease: Lease, epoch: int, at_ms: int) -> None:
        assert epoch >= self.floor, f"admitted under epoch {epoch}, which was over at {self.floor}"
        in_force = [self.of[version] for version in range(lease.version, self.current + 1)]
        for rate in self.of[lease.version].rates:
            amount = lease.units.of(rate.unit)
            if amount:
                self.log.setdefault(_nameless(rate), []).append((at_ms, amount))
        for name, (window, amount) in lease.windows.items():
            total = self.used[name, window] = self.used.get((name, window), 0) + amount
            there = [budget for limits in in_force for budget in limits.budgets if budget.name == name]
            if all(budget.hard for budget in there):
                most = max(budget.limit for budget in there)
                assert total <= most, f"budget {name} in {window}: {total} of {most}"
        alive = 1 + len(self.live)
        assert alive <= max(limits.in_flight for limits in in_force), f"{alive} in flight"
        self.live[lease_id] = lease

    def settled(self, lease_id: str, charged: int) -> None:
        lease = self.live.pop(lease_id)
        for name, (window, amount) in lease.windows.items():
            self.used[name, window] -= amount - min(amount, charged)

    def curves(self, skew_ms: int) -> None:
        """No interval holds more than the burst and what drains meanwhile, but for what the clocks differ by."""
        for rate, log in self.log.items():
            burst = max(each.burst for limits in self.of.values() for each in limits.rates if _nameless(each) == rate)
            bound = burst + Fraction(rate.count * skew_ms, rate.period_ms)
            before, lowest = Fraction(0), None
            for at_ms, amount in sorted(log):
                drained = Fraction(at_ms * rate.count, rate.period_ms)
                lowest = before - drained if lowest is None else min(lowest, before - drained)
                before += amount
                over = before - drained - lowest - bound
                assert over <= 0, f"rate {rate.name} over its curve by {float(over):.3f} units at {at_ms}"


def _nameless(rate: Rate) -> Rate:
    return Rate(rate.name, rate.unit, rate.count, rate.period_ms, 0)
