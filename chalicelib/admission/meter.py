"""The admission state of one tenant in one region, and what its holders see of it. Values only."""

from collections.abc import Mapping

import msgspec

from chalicelib.admission.limits import Unit, Units

Windows = Mapping[str, tuple[str, int]]
"""Budget key -> (window id, units)."""


class Held(msgspec.Struct, frozen=True):
    """A lease as the meter holds it: what its finder needs, should its owner die."""

    expires_ms: int
    admitted_ms: int
    windows: Windows  # what was reserved, and where
    budget_set: str = ""  # by which the meter knows these budgets (sets.py); "" of a lease from before there were sets


class Meter(msgspec.Struct, frozen=True):
    """A meter as it was at some instant."""

    epoch: int
    tats: Mapping[str, int]  # rate key -> theoretical arrival time, microseconds
    windows: Windows  # units used or reserved
    leases: Mapping[str, Held]
    sets: Mapping[str, tuple[str, ...]] | None = {}  # name -> budget keys; None: from before there were any
    plain: int = 0  # so many of the leases are from before there were sets


class Standing(msgspec.Struct, frozen=True):
    """How far one limit is used, right after an admission; what the RateLimit fields say.

    A rate's quota is its burst, and its window the time in which a burst refills.
    """

    name: str
    unit: Unit
    quota: int
    window_s: int
    remaining: int
    reset_ms: int  # until the whole quota is there again


class Lease(msgspec.Struct, frozen=True):
    """The right to run one request, until `expires_ms` unless renewed."""

    tenant: str
    meter: str  # that holds it: the tenant's, or a shard of it
    lease_id: str
    reserved: Units
    windows: Windows
    admitted_ms: int
    expires_ms: int
    budget_set: str = ""  # as in Held
    unheard: bool = False  # the write that took it left once more, and nobody heard what became of that
    standing: tuple[Standing, ...] = ()


def tenant_of(meter: str) -> str:
    """Whose meter or shard this is."""
    return meter.partition("#")[0]


class Lost(Exception):
    """A conditional write was not made. `truth` is the meter as it was then, None if there is none."""

    def __init__(self, truth: Meter | None) -> None:
        super().__init__("the meter was not as expected")
        self.truth = truth


class NoMeter(LookupError):
    """The tenant has no meter in this region: it does not exist here."""


class StaleEpoch(Exception):
    """The caller's copy of the tenant is out of date (or the tenant is gone): read it again."""


class Divided(Exception):
    """The tenant has several meters (see `shares`): what changes all of them is not this write."""
