"""What to write, and what a failed write means. Pure: values in, values out.

    Reservation -> predict() -> Write -> (the store) -> the meter after it, or the meter as it truly was
                          ^                                              |
                          '------ Again <------- judge() <---------------'
                                                   |--> Already, Stale, Denied

A Write is a list of steps, one for each limit, each with the branch that it bets on. The store turns a
step into one clause of the condition and one of the update; the in-memory twin runs `holds` and `after`.
"""

import msgspec

from chalicelib.admission import budgets, rates, sets
from chalicelib.admission.denial import Denial
from chalicelib.admission.limits import Budget, Limits, Rate, Units
from chalicelib.admission.meter import Held, Lease, Meter, Standing
from chalicelib.admission.rates import SLACK_US, US_PER_MS
from chalicelib.admission.sets import BudgetSet


class Reservation(msgspec.Struct, frozen=True):
    """May this run now? What would be reserved for it, and under which limits."""

    tenant: str
    epoch: int  # that the limits were read under
    limits: Limits
    units: Units  # to be reserved
    lease_id: str
    now_ms: int
    expires_ms: int


class Busy(msgspec.Struct, frozen=True):
    """A rate in use: holds if floor <= tat <= ceiling; adds the cost. Two of these commute."""

    key: str
    floor_us: int
    ceiling_us: int
    cost_us: int

    def holds(self, meter: Meter) -> bool:
        tat = meter.tats.get(self.key)
        return tat is not None and self.floor_us <= tat <= self.ceiling_us

    def after(self, meter: Meter) -> int:
        return meter.tats[self.key] + self.cost_us


class Idle(msgspec.Struct, frozen=True):
    """A rate at rest, or not ahead of the clock: holds if tat is absent or < before; starts at now + cost."""

    key: str
    before_us: int
    tat_us: int

    def holds(self, meter: Meter) -> bool:
        tat = meter.tats.get(self.key)
        return tat is None or tat < self.before_us

    def after(self, meter: Meter) -> int:  # noqa: ARG002
        return self.tat_us


class Same(msgspec.Struct, frozen=True):
    """A budget in the window that the meter has: holds if at most `room` is used (None: soft, any)."""

    key: str
    window: str
    room: int | None
    units: int

    def holds(self, meter: Meter) -> bool:
        window, used = meter.windows.get(self.key, ("", 0))
        return window == self.window and (self.room is None or used <= self.room)

    def after(self, meter: Meter) -> tuple[str, int]:
        return self.window, meter.windows[self.key][1] + self.units


class New(msgspec.Struct, frozen=True):
    """A budget whose window has turned: holds if the meter has none, or an earlier one."""

    key: str
    window: str
    units: int

    def holds(self, meter: Meter) -> bool:
        return meter.windows.get(self.key, ("", 0))[0] < self.window

    def after(self, meter: Meter) -> tuple[str, int]:  # noqa: ARG002
        return self.window, self.units


Step = Busy | Idle | Same | New


class Spent(msgspec.Struct, frozen=True):
    """What no limit names any more and what means nothing now: dropped along the way, so the item stays small."""

    tats: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()


class Write(msgspec.Struct, frozen=True):
    """One conditional write that admits: all of it or nothing."""

    tenant: str
    epoch: int
    lease_id: str
    held: Held
    cap: int
    plain: int  # so many leases from before there were sets count towards the cap, at most
    budget_set: BudgetSet
    steps: tuple[Step, ...]
    spent: Spent

    def holds(self, meter: Meter) -> bool:
        return (
            meter.epoch == self.epoch
            and self.lease_id not in meter.leases
            and meter.plain <= self.plain
            and len(meter.leases) - meter.plain < self.cap - self.plain
            and self.budget_set.holds(meter)
            and all(step.holds(meter) for step in self.steps)
        )

    def apply(self, meter: Meter) -> Meter:
        tats, windows = dict(meter.tats), dict(meter.windows)
        for step in self.steps:
            if isinstance(step, Busy | Idle):
                tats[step.key] = step.after(meter)
            else:
                windows[step.key] = step.after(meter)
        for name in self.spent.tats:
            tats.pop(name, None)
        for name in self.spent.windows:
            windows.pop(name, None)
        kept = {
            name: keys for name, keys in (self.budget_set.after(meter) or {}).items() if name not in self.spent.sets
        }
        return Meter(meter.epoch, tats, windows, {**meter.leases, self.lease_id: self.held}, kept, meter.plain)


class Already(msgspec.Struct, frozen=True):
    """The lease is there: the write was made before, and its answer was lost."""

    held: Held


class Stale(msgspec.Struct, frozen=True):
    """The limits were read under another epoch, or the tenant is gone."""


class Denied(msgspec.Struct, frozen=True):
    """At least one limit was passed at the instant that the write carried."""

    denials: tuple[Denial, ...]


class Again(msgspec.Struct, frozen=True):
    """Nothing denies: a branch was mispredicted."""


Verdict = Already | Stale | Denied | Again


def impossible(limits: Limits, units: Units) -> Denial | None:
    """The limit that this call is over all by itself, whatever is in use, if there is one."""
    for rate in limits.rates:
        if units.of(rate.unit) > rate.burst:
            return Denial("size", rate.name, rate.unit, remaining=rate.burst)
    for budget in limits.budgets:
        if budget.hard and units.of(budget.unit) > budget.limit:
            return Denial("size", budget.name, budget.unit, remaining=budget.limit)
    return None


def predict(reservation: Reservation, seen: Meter | None) -> Write:
    """The write that admits, if the meter is still much as it was last seen."""
    now_us = reservation.now_ms * US_PER_MS
    floor_us = now_us - SLACK_US
    tats = seen.tats if seen else {}
    windows = seen.windows if seen else {}
    steps: list[Step] = []
    reserved: dict[str, tuple[str, int]] = {}
    for rate in reservation.limits.rates:
        units = reservation.units.of(rate.unit)
        if not units:
            continue
        name = rates.key(rate)
        tat = tats.get(name)
        cost_us = rates.cost_us(rate, units)
        if tat is None or tat < floor_us:
            steps.append(Idle(name, rates.idle_before_us(rate, units, now_us), now_us + cost_us))
        else:
            steps.append(Busy(name, floor_us, rates.busy_until_us(rate, units, now_us), cost_us))
    for budget in reservation.limits.budgets:
        units = reservation.units.of(budget.unit)
        if not units:
            continue
        name = budgets.key(budget)
        ours = budgets.window_id(budget.window, reservation.now_ms)
        theirs = windows.get(name, ("", 0))[0]
        if theirs < ours:
            steps.append(New(name, ours, units))
            reserved[name] = (ours, units)
        else:
            # A later window than our clock's: another sandbox's clock runs ahead, and the meter follows it.
            steps.append(Same(name, theirs, budget.limit - units if budget.hard else None, units))
            reserved[name] = (theirs, units)
    budget_set = sets.of(reservation.limits.budgets, reservation.epoch, seen)
    return Write(
        reservation.tenant,
        reservation.epoch,
        reservation.lease_id,
        Held(reservation.expires_ms, reservation.now_ms, reserved, budget_set.name),
        reservation.limits.in_flight,
        seen.plain if seen else 0,
        budget_set,
        tuple(steps),
        _spent(reservation, seen),
    )


def _spent(reservation: Reservation, seen: Meter | None) -> Spent:
    # Under one epoch everybody has the same limits, so what ours do not name nobody is adding to.
    if seen is None or seen.epoch != reservation.epoch:
        return Spent()
    floor_us = reservation.now_ms * US_PER_MS - SLACK_US
    named = {rates.key(rate) for rate in reservation.limits.rates}
    spent_tats = tuple(name for name, tat in seen.tats.items() if name not in named and tat < floor_us)
    named = {budgets.key(budget) for budget in reservation.limits.budgets}
    spent_windows = tuple(
        name
        for name, (window, _) in seen.windows.items()
        if name not in named and window < budgets.window_id(budgets.kind_of(name), reservation.now_ms)
    )
    return Spent(spent_tats, spent_windows, sets.unused(reservation.limits.budgets, seen))


def judge(reservation: Reservation, truth: Meter | None) -> Verdict:
    """Why the write was not made, at the instant that it carried.

    Not at a later one: if a limit was passed then, this is a denial, and trying again because it might
    pass a round trip later would have every caller at the limit storm the item.
    """
    if truth is None:
        return Stale()
    held = truth.leases.get(reservation.lease_id)
    if held is not None:
        return Already(held)
    if truth.epoch != reservation.epoch:
        return Stale()
    denials = [
        *(denial for rate in reservation.limits.rates if (denial := _over_rate(rate, reservation, truth))),
        *(denial for budget in reservation.limits.budgets if (denial := _over_budget(budget, reservation, truth))),
    ]
    if len(truth.leases) >= reservation.limits.in_flight:
        denials.append(Denial("crowd", "in_flight", "requests", remaining=0, quota=reservation.limits.in_flight))
    return Denied(tuple(denials)) if denials else Again()


def _over_rate(rate: Rate, reservation: Reservation, truth: Meter) -> Denial | None:
    units = reservation.units.of(rate.unit)
    return over_rate(rate, truth.tats.get(rates.key(rate)), units, reservation.now_ms) if units else None


def over_rate(rate: Rate, tat_us: int | None, units: int, now_ms: int) -> Denial | None:
    """The denial of `units` at this instant, or None if they pass."""
    now_us = now_ms * US_PER_MS
    wait_us = rates.passes_at_us(rate, tat_us, units) - now_us
    if wait_us <= 0:
        return None
    return Denial(
        "rate",
        rate.name,
        rate.unit,
        remaining=rates.remaining(rate, tat_us, now_us),
        wait_ms=-(-wait_us // US_PER_MS),
        quota=rate.count,
        period_ms=rate.period_ms,
    )


def _over_budget(budget: Budget, reservation: Reservation, truth: Meter) -> Denial | None:
    units = reservation.units.of(budget.unit)
    if not units or not budget.hard:
        return None
    window, used = truth.windows.get(budgets.key(budget), ("", 0))
    if window < budgets.window_id(budget.window, reservation.now_ms) or used + units <= budget.limit:
        return None
    return Denial(
        budget.source,
        budget.name,
        budget.unit,
        remaining=max(0, budget.limit - used),
        wait_ms=budgets.end_ms(budget.window, window) - reservation.now_ms,
        quota=budget.limit,
        window=window,
    )


def standing(limits: Limits, meter: Meter, now_ms: int) -> tuple[Standing, ...]:
    """How far every limit is used, in the order of the limits."""
    now_us = now_ms * US_PER_MS
    found = []
    for rate in limits.rates:
        tat = meter.tats.get(rates.key(rate))
        window_s = -(-rates.tolerance_us(rate) // (US_PER_MS * 1_000))
        reset_ms = -(-rates.reset_us(tat, now_us) // US_PER_MS)
        left = rates.remaining(rate, tat, now_us)
        found.append(Standing(rate.name, rate.unit, rate.burst, window_s, left, reset_ms))
    for budget in limits.budgets:
        ours = budgets.window_id(budget.window, now_ms)
        window, used = meter.windows.get(budgets.key(budget), ("", 0))
        if window < ours:
            window, used = ours, 0
        end_ms = budgets.end_ms(budget.window, window)
        window_s = (end_ms - budgets.start_ms(budget.window, window)) // 1_000
        left = max(0, budget.limit - used)
        found.append(Standing(budget.name, budget.unit, budget.limit, window_s, left, end_ms - now_ms))
    return tuple(found)


class Refund(msgspec.Struct, frozen=True):
    """What one budget gets back, if it is still in the window of the reservation."""

    key: str
    window: str
    units: int


class Release(msgspec.Struct, frozen=True):
    """One conditional write that ends a lease and corrects what it reserved."""

    tenant: str
    lease_id: str
    plain: bool  # whether the lease is from before there were sets
    refunds: tuple[Refund, ...]

    def holds(self, meter: Meter) -> bool:
        return self.lease_id in meter.leases and all(
            meter.windows.get(refund.key, ("", 0))[0] == refund.window for refund in self.refunds
        )

    def apply(self, meter: Meter) -> Meter:
        windows = dict(meter.windows)
        for refund in self.refunds:
            window, used = windows[refund.key]
            windows[refund.key] = (window, used - refund.units)
        leases = {name: held for name, held in meter.leases.items() if name != self.lease_id}
        return msgspec.structs.replace(meter, windows=windows, leases=leases, plain=meter.plain - self.plain)


def release(tenant: str, lease_id: str, held: Held | Lease, charged: Units) -> Release:
    """The write that ends this lease, charging each budget at most what it reserved.

    Rates get nothing back: a refund that lands after the rate was idle would lift the curve.
    """
    refunds = []
    for name, (window, units) in held.windows.items():
        back = units - charged.of(budgets.unit_of(name))
        if back > 0:
            refunds.append(Refund(name, window, back))
    return Release(tenant, lease_id, not held.budget_set, tuple(refunds))


def still_to_do(lost: Release, truth: Meter | None) -> Release | None:
    """What remains of a release that was not made; None if the lease is gone already."""
    if truth is None or lost.lease_id not in truth.leases:
        return None
    # A window that has turned took the reservation with it: nothing to correct there, now or ever.
    there = tuple(refund for refund in lost.refunds if truth.windows.get(refund.key, ("", 0))[0] == refund.window)
    return msgspec.structs.replace(lost, refunds=there)
