"""The admission state of one tenant in one region, and the seam behind which it is kept."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from chalicelib.admission.limits import Unit, Units

if TYPE_CHECKING:
    from chalicelib.admission.decision import Release, Write

Windows = Mapping[str, tuple[str, int]]
"""Budget key -> (window id, units)."""


class Held(msgspec.Struct, frozen=True):
    """A lease as the meter holds it: what its finder needs, should its owner die."""

    expires_ms: int
    admitted_ms: int
    windows: Windows  # what was reserved, and where


class Meter(msgspec.Struct, frozen=True):
    """A meter as it was at some instant."""

    epoch: int
    tats: Mapping[str, int]  # rate key -> theoretical arrival time, microseconds
    windows: Windows  # units used or reserved
    leases: Mapping[str, Held]


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
    lease_id: str
    reserved: Units
    windows: Windows
    admitted_ms: int
    expires_ms: int
    standing: tuple[Standing, ...] = ()


class Lost(Exception):
    """A conditional write was not made. `truth` is the meter as it was then, None if there is none."""

    def __init__(self, truth: Meter | None) -> None:
        super().__init__("the meter was not as expected")
        self.truth = truth


class NoMeter(LookupError):
    """The tenant has no meter in this region: it does not exist here."""


class Meters(Protocol):
    """Meters, each changed by single conditional writes. Every method may raise StoreUnavailable."""

    def admit(self, write: "Write") -> Meter:
        """Make the write if all its conditions hold, and return the meter right after. Raises Lost."""

    def release(self, release: "Release") -> None:
        """Drop a lease and correct what it reserved, if all conditions hold. Raises Lost."""

    def renew(self, tenant: str, lease_id: str, expires_ms: int) -> bool:
        """Move a lease's expiry; False if the lease is gone."""

    def expired(self, now_ms: int) -> Iterator[tuple[str, str, Held]]:
        """(tenant, lease id, lease) of every lease past its expiry, in all meters of this region."""

    def reading(self, tenant: str) -> Meter | None:
        """The meter now (strongly consistent), None if there is none."""


class Epochs(Protocol):
    """The numbers that keep caches honest: an admission carries the epoch that its limits were read under."""

    def open(self, tenant: str, now_ms: int) -> int:
        """Create the meter if it is absent; its epoch either way. Raises StoreUnavailable."""

    def read(self, tenant: str) -> int:
        """The epoch now, strongly consistent. Raises NoMeter, StoreUnavailable."""

    def bump(self, tenant: str) -> int:
        """Invalidate every cached copy of the tenant in the world. Raises NoMeter, StoreUnavailable."""
