"""Writes to a shard of which nobody heard what became of them."""

from collections.abc import Callable

from chalicelib.admission import Admission
from chalicelib.admission.decision import Write
from chalicelib.admission.divisible import Divisible
from chalicelib.admission.limits import Budget, Units
from chalicelib.admission.memory import MemoryMeters
from chalicelib.admission.meter import Meter
from chalicelib.admission.outcomes import UnknownOutcomes
from chalicelib.admission.shares.memory import MemoryKeeping
from chalicelib.admission.shares.steward import Steward, Wanted
from chalicelib.ledger.memory import MemoryLedger
from tests.admission.arrange import REGION, ROOMY, limits
from tests.admission.backing import Backing
from tests.admission.shares.tenant import LEASE_MS, Tenant

BUSY = limits(ROOMY, Budget("month", "tokens", 10**9, "month"), in_flight=80)


class Interrupted(MemoryMeters):
    """The next admission leaves twice: of the first sending nobody hears, and before the second something happens."""

    def __init__(self) -> None:
        super().__init__()
        self.between: Callable[[], object] | None = None

    def admit(self, write: Write, unheard: Callable[[], None]) -> Meter:
        between, self.between = self.between, None
        if between is not None:
            unheard()
            between()
        return super().admit(write, unheard)


def test_a_lease_that_a_shard_gave_when_it_was_asked_again_is_not_taken_back() -> None:
    meters = Interrupted()
    keeping = MemoryKeeping(meters)
    acme = Tenant(Backing(meters, keeping, MemoryLedger()), BUSY)
    begun: list[UnknownOutcomes] = []
    divisible = Divisible(meters, lambda: keeping, acme.limits_of, acme.clock, lambda: 0)
    sandbox = Admission(
        meters, MemoryLedger(), lease_ms=LEASE_MS, region=REGION, begin=begun.append, spread=divisible.spread
    )

    def move_shares() -> None:
        wanted = Wanted(3, Units(requests=1, tokens=9 * 10**8))
        Steward(keeping, meters, acme.limits_of, acme.clock).level("acme", wanted)

    meters.between = move_shares
    lease = sandbox.admit(
        tenant="acme",
        epoch=meters.read("acme"),
        limits=BUSY,
        units=Units(requests=1, tokens=10),
        lease_id="0a",
        now_ms=acme.now_ms,
    )
    for outcomes in begun:
        outcomes.look()
    shard = meters.reading(lease.meter)
    assert shard is not None
    assert "0a" in shard.leases
    assert lease.unheard
