"""The meters of one region, of which some may be divided. Who has none of those never imports `shares`."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from chalicelib.admission.limits import Limits
from chalicelib.admission.meter import Divided
from chalicelib.admission.meters import Epochs
from chalicelib.admission.outcomes import monotonic_ms
from chalicelib.clock import Clock

if TYPE_CHECKING:
    from chalicelib.admission.gate import Admission
    from chalicelib.admission.shares.keeping import Keeping
    from chalicelib.admission.shares.spread import Spread
    from chalicelib.admission.shares.steward import Steward


class Divisible:
    """Implements Epochs. Every method may raise StoreUnavailable."""

    def __init__(
        self,
        meters: Epochs,
        keeping: Callable[[], "Keeping"],
        limits_of: Callable[[str], tuple[Limits, int]],
        clock: Clock,
        chance: Callable[[], int],
        monotonic: Callable[[], int] = monotonic_ms,
    ) -> None:
        """`limits_of`: a tenant's limits as they were set last, and the version of the document that says so.

        `chance`: a large number of this process's own, so that not all of them begin at the same shard.
        `monotonic`: what a request's patience is measured by.
        """
        self._meters = meters
        self._keeping = keeping
        self._limits_of = limits_of
        self._clock = clock
        self._chance = chance
        self._monotonic = monotonic

    def open(self, tenant: str, now_ms: int) -> int:
        return self._meters.open(tenant, now_ms)

    def read(self, tenant: str) -> int:
        return self._meters.read(tenant)

    def bump(self, tenant: str) -> int:
        try:
            return self._meters.bump(tenant)
        except Divided:
            return self._steward.bump(tenant)

    def divide(self, tenant: str) -> None:
        """Turn the tenant's meter into as many shards as its limits ask for. They were set before."""
        self._steward.divide(tenant)

    def spread(self, admission: "Admission") -> "Spread":
        """What admits where a meter is divided."""
        from chalicelib.admission.shares.spread import Spread

        return Spread(admission, self._steward_of, self._keeping(), self._monotonic, self._chance())

    @cached_property
    def _steward(self) -> "Steward":
        return self._steward_of(self._keeping())

    def _steward_of(self, keeping: "Keeping") -> "Steward":
        from chalicelib.admission.shares.steward import Steward

        return Steward(keeping, self._meters, self._limits_of, self._clock)
