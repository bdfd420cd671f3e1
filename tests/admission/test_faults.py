"""A store that fails: money fails closed, and nothing is charged twice or held for ever."""

import time
from collections.abc import Iterator

import pytest

from chalicelib.admission.limits import Rate, Units
from chalicelib.admission.meter import Lease
from chalicelib.admission.outcomes import UnknownOutcomes
from chalicelib.refusal import NoCapacity, StoreUnavailable
from tests.admission.arrange import MONTH, T0, entry, limits
from tests.admission.backing import LEASE_MS
from tests.admission.failing_store import FailingStore
from tests.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.patience import PATIENCE_S
from tests.stores import Served, StoreName

IMPATIENT_MS = 500  # for a store that never answers
HALTING_MS = 3_000  # for one that does not answer once, and answers the next call at once
LIMITS = limits(Rate("roomy", "requests", 1_000, 1_000, 10_000), MONTH)
EXPIRED = T0 + LEASE_MS + 1


class World(FailingStore):
    """A sandbox whose store may fail."""

    def __init__(self, proxy: FaultProxy, proxied: str, direct: str) -> None:
        super().__init__(proxy, proxied, direct)
        self.pauses: list[int] = []
        self.wait_at_most(round(PATIENCE_S * 1_000))

    def wait_at_most(self, deadline_ms: int) -> None:
        """For the answer to a call from now on."""
        self.admission = self.behind_it(deadline_ms, _dies_first, self.pauses.append)

    def admit(self, lease_id: str = "0a") -> Lease:
        return self.admitted_by(self.admission, LIMITS, lease_id)


def _dies_first(outcomes: UnknownOutcomes) -> None:
    """For a sandbox that ends before it could make sure of anything; test_outcomes.py has those that live."""


@pytest.fixture
def world(stores: Served, store: StoreName) -> Iterator[World]:
    direct = stores.url(store)
    with fault_proxy(direct) as (proxy, proxied):
        yield World(proxy, proxied, direct)


@pytest.mark.parametrize("fault", [Fault.ERROR_500, Fault.THROTTLED, Fault.SILENT])
def test_a_store_that_does_not_answer_refuses_and_says_when_to_come_back(world: World, fault: Fault) -> None:
    world.proxy.always = fault
    if fault is Fault.SILENT:
        world.wait_at_most(IMPATIENT_MS)
    began = time.monotonic()
    with pytest.raises(NoCapacity) as refused:
        world.admit()
    assert refused.value.retry_in_ms == 1_000
    assert time.monotonic() - began < PATIENCE_S, "the store's silence lasts longer than a caller waits"
    # Two tries within the deadline each; one that is throttled is not made heavier by repeating it.
    assert world.proxy.seen == ["UpdateItem"] * (1 if fault is Fault.THROTTLED else 2)
    assert world.meter().leases == {}


@pytest.mark.parametrize("fault", [Fault.ERROR_500, Fault.SILENT, Fault.LOST, Fault.LOST_SILENT])
def test_an_admission_whose_answer_was_lost_is_admitted_once(world: World, fault: Fault) -> None:
    world.proxy.plan(fault)
    if fault in (Fault.SILENT, Fault.LOST_SILENT):
        world.wait_at_most(HALTING_MS)
    lease = world.admit()
    assert world.proxy.seen == ["UpdateItem"] * 2
    assert (list(world.meter().leases), world.meter().windows["month.tm"][1]) == (["0a"], 100)
    world.admission.settle(lease, entry(lease, tokens=30))
    assert (world.meter().leases, world.meter().windows["month.tm"][1]) == ({}, 30)


@pytest.mark.parametrize("lost", [(Fault.LOST,), (Fault.NONE, Fault.LOST), (Fault.LOST, Fault.NONE, Fault.LOST)])
def test_a_settlement_whose_answers_were_lost_charges_once(world: World, lost: tuple[Fault, ...]) -> None:
    lease, other = world.admit("0a"), world.admit("0b")
    world.proxy.plan(*lost)
    decided = world.admission.settle(lease, entry(lease, tokens=30))
    assert world.ledger.find("acme", "0a") == decided == entry(lease, tokens=30)
    assert (list(world.meter().leases), world.meter().windows["month.tm"][1]) == (["0b"], 130)
    assert world.admission.settle(other, entry(other, tokens=0)).outcome == "completed"


def test_an_admission_that_landed_unheard_is_abandoned_and_charged_nothing(world: World) -> None:
    world.proxy.plan(Fault.LOST, Fault.LOST)
    with pytest.raises(NoCapacity):
        world.admit()
    assert list(world.meter().leases) == ["0a"]
    assert world.admission.reap(EXPIRED) == 1
    assert (world.meter().leases, world.meter().windows["month.tm"][1]) == ({}, 0)
    found = world.ledger.find("acme", "0a")
    assert found is not None
    assert found.outcome == "abandoned"


def test_a_settlement_outlives_a_short_outage(world: World) -> None:
    lease = world.admit()
    world.proxy.plan(*[Fault.ERROR_500] * 4)  # two of our tries, two of botocore's each
    world.admission.settle(lease, entry(lease, tokens=30))
    assert world.pauses == [50, 200]
    assert (world.meter().leases, world.meter().windows["month.tm"][1]) == ({}, 30)


def test_a_settlement_in_a_long_outage_says_so_and_is_made_good_by_the_reaper(world: World) -> None:
    lease = world.admit()
    world.proxy.always = Fault.ERROR_500
    with pytest.raises(StoreUnavailable):
        world.admission.settle(lease, entry(lease, tokens=30))
    world.proxy.always = Fault.NONE
    assert world.admission.reap(EXPIRED) == 1
    assert (world.meter().leases, world.meter().windows["month.tm"][1]) == ({}, 0)
    late = world.admission.settle(lease, entry(lease, tokens=30))
    assert (late.outcome, late.late) == ("abandoned", Units(requests=1, tokens=30))


def test_an_outage_between_entry_and_meter_charges_what_the_entry_says(world: World) -> None:
    lease = world.admit()
    world.proxy.plan(Fault.NONE)
    world.proxy.always = Fault.ERROR_500
    with pytest.raises(StoreUnavailable):
        world.admission.settle(lease, entry(lease, tokens=30))
    world.proxy.always = Fault.NONE
    assert world.admission.reap(EXPIRED) == 1
    assert (world.meter().leases, world.meter().windows["month.tm"][1]) == ({}, 30)


def test_a_reaper_stopped_by_an_outage_goes_on_when_it_ends(world: World) -> None:
    for lease_id in ("0a", "0b", "0c"):
        world.admit(lease_id)
    world.proxy.plan(Fault.NONE, Fault.NONE, *[Fault.ERROR_500] * 2)  # one entry is put, its release fails
    with pytest.raises(StoreUnavailable):
        world.admission.reap(EXPIRED)
    assert len(world.meter().leases) == 1
    assert world.admission.reap(EXPIRED) == 1
    assert (world.meter().leases, world.meter().windows["month.tm"][1]) == ({}, 0)
