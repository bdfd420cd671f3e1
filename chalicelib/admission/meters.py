"""The seam behind which meters are kept: `store.py` for DynamoDB, `memory.py` for its twin."""

from collections.abc import Callable, Iterator
from typing import Protocol

from chalicelib.admission.decision import Release, Write
from chalicelib.admission.meter import Held, Lease, Meter


class Meters(Protocol):
    """Meters, each changed by single conditional writes. Every method may raise StoreUnavailable."""

    def admit(self, write: Write, unheard: Callable[[], None]) -> Meter:
        """Make the write if all its conditions hold, and return the meter right after. Raises Lost.

        `unheard` is told whenever the write left and nobody heard what became of it, also if it was heard of the next
        time: what left first may be made yet.
        """

    def release(self, release: Release) -> None:
        """Drop a lease and correct what it reserved, if all conditions hold. Raises Lost."""

    def renew(self, lease: Lease) -> bool:
        """Let the lease expire when this one does; False if it is gone."""

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
