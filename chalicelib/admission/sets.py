"""Sets of budgets: which ones a lease reserves in, said once for all leases that were admitted under the same limits.

A lease gives back where it reserved and nowhere else, also when budgets were added or dropped since. Instead of
naming its budgets it names a set of them, which stands in the meter until no lease names it any more.

Nobody has to look for a set twice: under one epoch all have the same limits, so none of them ends or renames the set
that these make. Whoever saw it there under the epoch that a write is conditional on, will find it there.
"""

from collections.abc import Iterable

import msgspec

from chalicelib.admission import budgets
from chalicelib.admission.leases import Sets, base36
from chalicelib.admission.limits import Budget
from chalicelib.admission.meter import Meter


class Known(msgspec.Struct, frozen=True):
    """The meter had the set under the epoch of this write, so it has it."""

    name: str

    def holds(self, meter: Meter) -> bool:  # noqa: ARG002
        return True

    def after(self, meter: Meter) -> Sets | None:
        return meter.sets


class Named(msgspec.Struct, frozen=True):
    """A set that may be new: holds if the meter has nothing by this name, or this very set."""

    name: str
    keys: tuple[str, ...]

    def holds(self, meter: Meter) -> bool:
        return meter.sets is not None and meter.sets.get(self.name, self.keys) == self.keys

    def after(self, meter: Meter) -> Sets:
        return {**(meter.sets or {}), self.name: self.keys}


class First(msgspec.Struct, frozen=True):
    """The first lease of a meter that is older than the sets: holds if it still has none."""

    name: str
    keys: tuple[str, ...]

    def holds(self, meter: Meter) -> bool:
        return meter.sets is None

    def after(self, meter: Meter) -> Sets:  # noqa: ARG002
        return {self.name: self.keys}


BudgetSet = Known | Named | First


def of(limits: Iterable[Budget], epoch: int, seen: Meter | None) -> BudgetSet:
    """The set of these limits' budgets, for a write under this epoch to the meter as it was last seen."""
    keys = tuple([budgets.key(budget) for budget in limits])
    if seen is None:
        return Named(base36(0), keys)
    if seen.sets is None:
        return First(base36(0), keys)
    for name, its in seen.sets.items():
        if its == keys:
            return Known(name) if seen.epoch == epoch else Named(name, keys)
    number = 0
    while base36(number) in seen.sets:
        number += 1
    return Named(base36(number), keys)


def unused(limits: Iterable[Budget], seen: Meter) -> tuple[str, ...]:
    """Sets of other limits that no lease names; for a write under the epoch of what was seen.

    Those who would name them are kept out by the epoch, so nobody has done so since.
    """
    if not seen.sets or len(seen.sets) == 1:
        return ()
    keys = tuple([budgets.key(budget) for budget in limits])
    named = {held.budget_set for held in seen.leases.values()}
    return tuple([name for name, its in seen.sets.items() if its != keys and name not in named])
