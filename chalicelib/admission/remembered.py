"""What this sandbox remembers of rate-limited denials, so that a flood of them is not a flood of writes.

A rate's arrival time never falls under one epoch (nothing is refunded), so a denial by a remembered one is
certain, also for other amounts: more units wait longer, and fewer may pass and are let through.
"""

from collections import OrderedDict

import msgspec

from chalicelib.admission import rates
from chalicelib.admission.decision import Reservation, over_rate
from chalicelib.admission.denial import Denial
from chalicelib.admission.meter import Meter

# A limit that was raised elsewhere is seen within this time, even here.
LONGEST_MS = 1_000
MOST_METERS = 10_000


class _Remembered(msgspec.Struct, frozen=True):
    epoch: int
    since_ms: int
    until_ms: int
    tats: dict[str, int]


class Denials:
    """Bounded; safe to use from several threads, who may at worst overwrite each other's memory."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, _Remembered] = OrderedDict()

    def remember(self, reservation: Reservation, denials: tuple[Denial, ...], truth: Meter) -> None:
        """Keep a denial by nothing but rates: only their end is known for certain."""
        if any(denial.kind != "rate" for denial in denials):
            return
        wait_ms = max(denial.wait_ms for denial in denials)
        until_ms = reservation.now_ms + min(wait_ms, LONGEST_MS)
        self._of[reservation.tenant] = _Remembered(reservation.epoch, reservation.now_ms, until_ms, dict(truth.tats))
        while len(self._of) > MOST_METERS:
            self._of.popitem(last=False)

    def recall(self, reservation: Reservation) -> list[Denial]:
        """The denials that are certain without asking the store; [] where it must be asked."""
        found = self._of.get(reservation.tenant)
        if (
            found is None
            or found.epoch != reservation.epoch
            or not found.since_ms <= reservation.now_ms < found.until_ms
        ):
            return []
        return [
            denial
            for rate in reservation.limits.rates
            if (units := reservation.units.of(rate.unit))
            and (denial := over_rate(rate, found.tats.get(rates.key(rate)), units, reservation.now_ms))
        ]

    def forget(self, tenant: str) -> None:
        self._of.pop(tenant, None)
