"""What can be divided of limits, and how much of it moves. Pure; integers only.

A quantity that can be divided is a *component*: a rate has its count (in thousandths, so that it divides well) and
its burst, a hard budget its units, the cap its places. A share of a limit is a limit of the same kind, with the name
of the whole in the meter: so a shard is a meter like any other, under limits of its own.

Only what is not used moves; use stays where it was made. So no shard's levels ever sum to more than one meter would
show, and all of them drain together at least as fast as one would.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from chalicelib.admission import budgets, rates
from chalicelib.admission.limits import Budget, Limits, Rate, ShareOfRate, Unit, Units
from chalicelib.admission.meter import Meter
from chalicelib.admission.rates import SLACK_US, US_PER_MS

MILLI: Final = 1_000
PLACES: Final = "in_flight"

MARGIN_US: Final = 100_000
"""How far a rate in use may move on between a look at it and a write."""

ITEM_BYTES = 1_024
"""Up to which DynamoDB writes an item for one unit."""
MOST_SHARDS = 84
"""As many as the largest cap asks for, and fewer than DynamoDB reads in one call (100)."""
USUAL = Units(requests=1, tokens=8_192, micro_usd=100_000, gpu_ms=10_000)
"""What a shard must be able to admit by itself; a call that needs more has the shares moved to it."""
PLACES_EACH = 4
"""Fewer would be found full too often."""


def shards_of(limits: Limits) -> int:
    """Into how many shards a tenant with these limits is divided: as many as keep each item small, no more than keep
    each share worth having."""
    most = min(limits.in_flight // PLACES_EACH, -(-limits.in_flight // leases_of(limits)), MOST_SHARDS)
    for rate in limits.rates:
        withheld = -(-rate.count * SLACK_US // (rate.period_ms * US_PER_MS))
        most = min(most, (rate.burst - withheld) // (2 * USUAL.of(rate.unit)))
    for budget in limits.budgets:
        if budget.hard:
            most = min(most, budget.limit // (16 * USUAL.of(budget.unit)))
    return max(1, most)


def leases_of(limits: Limits) -> int:
    """How many a shard's item holds within its bytes: 38 for each, beside those of the limits' names, of what stands by
    them and of their shares, and 130 for the rest."""
    left = ITEM_BYTES - 130
    left -= sum(36 + len(rates.key(rate)) for rate in limits.rates)
    # A budget is named in its window, and in the set that leases name.
    left -= sum(30 + 2 * len(budgets.key(budget)) for budget in limits.budgets)
    return max(PLACES_EACH, left // 38)


def split(total: int, parts: int) -> list[int]:
    """As equal integers as can be, which sum to the total."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def keys(limits: Limits) -> Iterator[str]:
    """The names in the meter of all that is divided of these limits."""
    yield from (rates.key(rate) for rate in limits.rates)
    yield from (budgets.key(budget) for budget in limits.budgets if budget.hard)
    yield PLACES


def components(limits: Limits, ids: Mapping[str, str]) -> dict[str, int]:
    """Component -> all that there is of it."""
    whole: dict[str, int] = {}
    for rate in limits.rates:
        name = ids[rates.key(rate)]
        whole[count_of(name)] = rate.count * MILLI
        whole[burst_of(name)] = rate.burst
    for budget in limits.budgets:
        if budget.hard:
            whole[units_of(ids[budgets.key(budget)])] = budget.limit
    whole[units_of(ids[PLACES])] = limits.in_flight
    return whole


def count_of(limit_id: str) -> str:
    return limit_id + "c"


def burst_of(limit_id: str) -> str:
    return limit_id + "b"


def units_of(limit_id: str) -> str:
    """Of a budget's units, and of the cap's places."""
    return limit_id + "n"


def limit_of(component: str) -> str:
    """The id of its limit."""
    return component[:-1]


# A rate's share is GCRA with the share's own count and burst.


def level_milli(rate: Rate, count_milli: int, tat_us: int, now_us: int) -> int:
    """What stands on the burst, the slack included, in thousandths of a unit, rounded up."""
    return -(-max(0, tat_us + SLACK_US - now_us) * count_milli // (rate.period_ms * US_PER_MS))


def tat_of(rate: Rate, count_milli: int, level: int, now_us: int) -> int:
    """The arrival time with this level at this count, rounded up: where the count changes, what is owed does not."""
    return now_us - SLACK_US + -(-level * rate.period_ms * US_PER_MS // count_milli)


def largest(whole: Limits, limits: Limits) -> Mapping[Unit, int]:
    """Unit -> the most of it that a shard with these of the whole limits may be asked for at once.

    The branches of a rate at rest and of a new window have no ceiling, so what is more than the share must not be sent.
    """
    # Beside the slack of a rate that has just been used up to now.
    burst = {rate.name: rates.remaining(rate, 0, 0) for rate in limits.rates}
    most: dict[Unit, int] = {}
    for rate in whole.rates:
        amount = burst.get(rate.name, 0)
        most[rate.unit] = min(amount, most.get(rate.unit, amount))
    for budget in limits.budgets:
        if budget.hard:
            most[budget.unit] = min(budget.limit, most.get(budget.unit, budget.limit))
    return most


def serves(limits: Limits, most: Mapping[Unit, int], units: Units) -> bool:
    """Whether a shard with these limits, and so this as its `largest`, may be asked for so much at all."""
    return limits.in_flight > 0 and all(units.of(unit) <= amount for unit, amount in most.items())


def room(limits: Limits, meter: Meter, now_ms: int) -> float:
    """How much of the tightest share is left, from 0 to 1: to choose a shard by, and for nothing else."""
    least = 1 - len(meter.leases) / limits.in_flight if limits.in_flight else 0.0
    for rate in limits.rates:
        tat_us = meter.tats.get(rates.key(rate))
        least = min(least, rates.remaining(rate, tat_us, now_ms * US_PER_MS) / rate.burst)
    for budget in limits.budgets:
        if budget.hard:
            window, used = meter.windows.get(budgets.key(budget), ("", 0))
            if window >= budgets.window_id(budget.window, now_ms):
                least = min(least, (budget.limit - used) / budget.limit if budget.limit else 0.0)
    return least


def fits(whole: Limits, shards: Sequence[tuple[Limits, Meter]], units: Units, now_ms: int) -> bool:
    """Whether all shards together have room for a call that none of them has room for."""
    for rate in whole.rates:
        parts = [
            rates.remaining(each, meter.tats.get(rates.key(rate)), now_ms * US_PER_MS)
            for limits, meter in shards
            for each in limits.rates
            if each.name == rate.name
        ]
        if sum(parts) < units.of(rate.unit):
            return False
    for budget in whole.budgets:
        if budget.hard:
            ours = budgets.window_id(budget.window, now_ms)
            used = [meter.windows.get(budgets.key(budget), ("", 0)) for _, meter in shards]
            if sum(each for window, each in used if window >= ours) + units.of(budget.unit) > budget.limit:
                return False
    return sum(len(meter.leases) for _, meter in shards) < whole.in_flight


def share_limits(limits: Limits, ids: Mapping[str, str], share: Mapping[str, int]) -> Limits:
    """The limits of a shard that has these shares (component -> amount). A rate that it has nothing of is not there."""
    parts = []
    for rate in limits.rates:
        name = ids[rates.key(rate)]
        count_milli, burst = share.get(count_of(name), 0), share.get(burst_of(name), 0)
        if count_milli > 0 and burst > 0:
            parts.append(ShareOfRate(rate.name, rate.unit, count_milli, rate.period_ms * MILLI, burst, rates.key(rate)))
    return Limits(
        rates=tuple(parts),
        budgets=tuple(_share_of_budget(budget, ids, share) for budget in limits.budgets),
        in_flight=share.get(units_of(ids[PLACES]), 0),
    )


def _share_of_budget(budget: Budget, ids: Mapping[str, str], share: Mapping[str, int]) -> Budget:
    if not budget.hard:
        return budget
    return msgspec.structs.replace(budget, limit=share.get(units_of(ids[budgets.key(budget)]), 0))
