"""Unknown outcomes: what a store did or did not do while nobody heard from it is made sure of when it answers again."""

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.admission import Admission
from chalicelib.admission.limits import Budget, Limits, Units
from chalicelib.admission.meter import Lease
from chalicelib.admission.outcomes import LOOKS_MS, MOST, RETRY_MS, UnknownOutcomes, in_a_thread
from chalicelib.ledger import Entry
from chalicelib.refusal import NoCapacity, QuotaExhausted, StoreUnavailable
from tests.admission.arrange import MONTH, T0, entry, limits
from tests.admission.backing import LEASE_MS
from tests.admission.failing_store import FailingStore
from tests.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.patience import PATIENCE_S, until
from tests.stores import Served, StoreName

AT_ONCE = 120


class World(FailingStore):
    """A sandbox behind a store that may stall."""

    def __init__(self, proxy: FaultProxy, proxied: str, direct: str) -> None:
        super().__init__(proxy, proxied, direct)
        self.limits = limits(Budget("month", "tokens", 400, "month"), in_flight=4)
        self.begun: list[UnknownOutcomes] = []
        self._warm = 0

    def sandbox(self, begin: Callable[[UnknownOutcomes], None] = in_a_thread) -> Admission:
        """It has seen the meter, so its writes are made if they arrive."""
        sandbox = self.behind_it(round(PATIENCE_S * 1_000), begin, _no_pause)
        self._warm += 1
        lease = self.admit(sandbox, f"0warm{self._warm}")
        sandbox.settle(lease, entry(lease, tokens=0))
        return sandbox

    def admit(self, sandbox: Admission, lease_id: str) -> Lease:
        return self.admitted_by(sandbox, self.limits, lease_id)

    def resume_and_await_a_release(self) -> None:
        before = self.proxy.seen.count("UpdateItem")
        self.proxy.heal()
        until(lambda: self.proxy.under_way == 0 and self.meter().leases == {})
        assert self.proxy.seen.count("UpdateItem") == before + 1

    def used(self) -> int:
        return self.meter().windows["month.tm"][1]


def _no_pause(pause_ms: int) -> None:
    return None


@pytest.fixture
def world(stores: Served, store: StoreName) -> Iterator[World]:
    direct = stores.url(store)
    with fault_proxy(direct) as (proxy, proxied):
        yield World(proxy, proxied, direct)


def test_leases_of_admissions_that_a_stalled_store_makes_late_are_taken_back(world: World) -> None:
    sandbox = world.sandbox()
    world.proxy.always = Fault.LATE
    with ThreadPoolExecutor(4) as callers:
        refused = [callers.submit(world.admit, sandbox, f"0a{number}") for number in range(4)]
    assert [type(each.exception()) for each in refused] == [NoCapacity] * 4
    assert world.meter().leases == {}
    world.proxy.heal()
    # Each was sent twice; all are made now, some perhaps after the first look for them.
    until(lambda: world.proxy.under_way == 0 and world.meter().leases == {} and world.meter().windows)
    assert world.used() == 0
    # Nobody was admitted, so there is no entry, and the tenant has all of its places.
    assert [world.ledger.find("acme", f"0a{number}") for number in range(4)] == [None] * 4
    for number in range(4):
        world.admit(sandbox, f"0b{number}")


def test_a_settlement_that_a_stalled_store_did_not_take_is_made_when_it_answers(world: World) -> None:
    sandbox = world.sandbox()
    lease = world.admit(sandbox, "0a")
    world.proxy.always = Fault.LATE
    with pytest.raises(StoreUnavailable):
        sandbox.settle(lease, entry(lease, tokens=30))
    world.proxy.heal()
    until(lambda: world.meter().leases == {})
    assert world.used() == 30
    assert world.ledger.find("acme", "0a") == entry(lease, tokens=30)


def test_a_tenant_is_not_locked_out_by_its_own_unheard_leases_where_nothing_runs_beside_requests(world: World) -> None:
    """As on Lambda, whose process stands still between two requests."""
    sandbox = world.sandbox(begin=world.begun.append)
    for number in range(3):
        world.proxy.plan(Fault.LOST, Fault.LOST)
        with pytest.raises(NoCapacity):
            world.admit(sandbox, f"0a{number}")
    alive = world.admit(sandbox, "0b")
    assert sorted(world.meter().leases) == ["0a0", "0a1", "0a2", "0b"]
    world.proxy.seen.clear()
    world.admit(sandbox, "0c")
    # Denied by the cap and the budget; three are taken back; admitted.
    assert world.proxy.seen == ["UpdateItem"] * 5
    assert sorted(world.meter().leases) == ["0b", "0c"]
    sandbox.settle(alive, entry(alive, tokens=1))


def test_only_leases_whose_callers_were_refused_are_taken_back(world: World) -> None:
    other, sandbox = world.sandbox(begin=world.begun.append), world.sandbox(begin=world.begun.append)
    for number in range(3):
        world.admit(sandbox, f"0a{number}")
    world.proxy.plan(Fault.LOST, Fault.LOST)
    with pytest.raises(NoCapacity):
        world.admit(sandbox, "0b")
    # Another sandbox knows nothing of it, and must take it for one that lives.
    with pytest.raises(QuotaExhausted):
        world.admit(other, "0c")
    world.admit(sandbox, "0d")
    with pytest.raises(QuotaExhausted):
        world.admit(sandbox, "0e")
    assert sorted(world.meter().leases) == ["0a0", "0a1", "0a2", "0d"]


def test_a_write_that_is_made_after_the_one_that_repeated_it_has_been_settled_is_taken_back(world: World) -> None:
    sandbox = world.sandbox()
    world.proxy.plan(Fault.LATE)
    lease = world.admit(sandbox, "0a")
    sandbox.settle(lease, entry(lease, tokens=30))
    assert (world.meter().leases, world.used()) == ({}, 30)
    world.resume_and_await_a_release()
    assert world.used() == 30
    assert world.ledger.find("acme", "0a") == entry(lease, tokens=30)


def test_a_write_that_is_made_after_the_one_that_repeated_it_was_denied_is_taken_back(world: World) -> None:
    other, sandbox = world.sandbox(), world.sandbox()
    leases = [world.admit(other, f"0a{number}") for number in range(4)]
    world.proxy.plan(Fault.LATE)
    with pytest.raises(QuotaExhausted):
        world.admit(sandbox, "0b")
    for lease in leases:
        other.settle(lease, entry(lease, tokens=1))
    world.resume_and_await_a_release()
    assert world.used() == 4


def test_of_a_write_that_was_surely_not_made_nothing_is_remembered(world: World) -> None:
    sandbox = world.sandbox(begin=world.begun.append)
    world.proxy.plan(Fault.THROTTLED)
    with pytest.raises(NoCapacity):
        world.admit(sandbox, "0a")
    assert world.begun == []


def test_a_hundred_and_twenty_at_once_on_a_slow_store_leave_no_lease_behind(world: World) -> None:
    world.limits = Limits((), (MONTH,), in_flight=AT_ONCE)
    sandbox = world.sandbox(begin=world.begun.append)
    # Of five calls one is answered at once, one is made unheard, and three are made when nobody waits any more.
    world.proxy.plan(*[Fault.NONE, Fault.LATE, Fault.LATE, Fault.LOST, Fault.LATE] * AT_ONCE)
    together = threading.Barrier(AT_ONCE)

    def admitted(number: int) -> Lease | None:
        together.wait()
        try:
            return world.admit(sandbox, f"0a{number:03}")
        except NoCapacity:
            return None

    with ThreadPoolExecutor(AT_ONCE) as callers:
        leases = list(callers.map(admitted, range(AT_ONCE)))
    running = [lease for lease in leases if lease is not None]
    assert 0 < len(running) < AT_ONCE
    world.proxy.break_no_more()
    for lease in running:
        sandbox.settle(lease, entry(lease, tokens=30))
    world.proxy.heal()
    until(lambda: world.proxy.under_way == 0)
    assert world.meter().leases != {}
    in_a_thread(world.begun[0])
    until(lambda: world.meter().leases == {})
    assert world.used() == 30 * len(running)
    found = [world.ledger.find("acme", f"0a{number:03}") for number in range(AT_ONCE)]
    assert [each is None for each in found] == [lease is None for lease in leases]


# When it looks, by a clock that stands where it is put.


class Looks:
    """What is asked of the store, and whether it answers."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.down = False
        self.asked: list[object] = []
        self.begun: list[UnknownOutcomes] = []
        self.outcomes = UnknownOutcomes(
            self._release, self._settle, lease_ms=LEASE_MS, begin=self.begun.append, clock=lambda: self.now_ms
        )

    def _release(self, tenant: str, lease_ids: Collection[str]) -> None:
        self.asked.append((tenant, *lease_ids))
        if self.down:
            raise StoreUnavailable

    def _settle(self, lease: Lease, _: Entry) -> None:
        self.asked.append(lease.lease_id)
        if self.down:
            raise StoreUnavailable

    def at(self, now_ms: int) -> tuple[list[object], int | None]:
        """What is asked at this instant, and for how long nothing is then."""
        self.now_ms = now_ms
        self.asked = []
        pause_ms = self.outcomes.look()
        return self.asked, pause_ms


def _lease(lease_id: str) -> Lease:
    return Lease("acme", "acme", lease_id, Units(), {}, T0, T0 + LEASE_MS)


def test_one_look_at_a_meter_is_for_all_of_its_admissions() -> None:
    looks = Looks()
    for tenant, lease_id in (("acme", "0a"), ("other", "0b"), ("acme", "0c")):
        looks.outcomes.admission(tenant, lease_id)
    assert looks.at(0) == ([("acme", "0a", "0c"), ("other", "0b")], LOOKS_MS[0])


def test_an_admission_is_looked_for_again_because_a_slow_store_may_make_it_late() -> None:
    looks = Looks()
    looks.outcomes.admission("acme", "0a")
    now_ms = 0
    for pause_ms in LOOKS_MS:
        assert looks.at(now_ms) == ([("acme", "0a")], pause_ms)
        assert looks.at(now_ms + pause_ms - 1) == ([], 1)
        now_ms += pause_ms
    assert looks.at(now_ms) == ([("acme", "0a")], None)


def test_a_store_that_is_down_is_asked_twice_a_second() -> None:
    looks = Looks()
    looks.down = True
    looks.outcomes.settlement(_lease("0a"), entry(_lease("0a"), tokens=1))
    looks.outcomes.admission("acme", "0b")
    assert looks.at(0) == (["0a"], RETRY_MS)
    assert looks.at(RETRY_MS - 1) == ([], 1)
    assert looks.at(RETRY_MS) == (["0a"], RETRY_MS)
    looks.down = False
    assert looks.at(2 * RETRY_MS) == (["0a", ("acme", "0b")], LOOKS_MS[0])


def test_a_settlement_is_repeated_until_the_store_takes_it_an_admission_until_its_lease_has_expired() -> None:
    looks = Looks()
    looks.down = True
    looks.outcomes.admission("acme", "0b")
    looks.outcomes.settlement(_lease("0a"), entry(_lease("0a"), tokens=1))
    assert looks.at(LEASE_MS) == (["0a"], RETRY_MS)
    looks.down = False
    assert looks.at(10**9) == (["0a"], None)


def test_whoever_fails_is_last_the_next_time_because_it_may_fail_alone() -> None:
    looks = Looks()
    looks.down = True
    for tenant in ("acme", "other"):
        looks.outcomes.admission(tenant, "0a")
    assert looks.at(0) == ([("acme", "0a")], RETRY_MS)
    assert looks.at(RETRY_MS) == ([("other", "0a")], RETRY_MS)


def test_word_from_the_store_brings_the_look_forward() -> None:
    looks = Looks()
    looks.down = True
    looks.outcomes.admission("acme", "0a")
    looks.at(0)
    assert looks.outcomes.waiting
    looks.down = False
    looks.outcomes.answered()
    assert looks.at(1) == ([("acme", "0a")], LOOKS_MS[0])
    assert not looks.outcomes.waiting
    looks.outcomes.answered()
    assert looks.at(2) == ([], LOOKS_MS[0] - 1)


def test_the_work_is_begun_once_and_again_after_its_end() -> None:
    looks = Looks()
    looks.outcomes.settlement(_lease("0a"), entry(_lease("0a"), tokens=1))
    looks.outcomes.settlement(_lease("0b"), entry(_lease("0b"), tokens=1))
    assert len(looks.begun) == 1
    looks.begun[0].work()
    assert looks.asked == ["0a", "0b"]
    looks.outcomes.settlement(_lease("0c"), entry(_lease("0c"), tokens=1))
    assert len(looks.begun) == 2


def test_what_breaks_us_is_told_and_forgotten_and_keeps_nothing_that_comes_after_it() -> None:
    looks = Looks()
    told: list[Exception] = []

    def settle(lease: Lease, unknown: Entry) -> None:
        looks._settle(lease, unknown)
        if lease.lease_id == "0a":
            raise ZeroDivisionError

    outcomes = UnknownOutcomes(
        looks._release, settle, lease_ms=LEASE_MS, begin=looks.begun.append, clock=lambda: 0, report=told.append
    )
    for lease_id in ("0a", "0b"):
        outcomes.settlement(_lease(lease_id), entry(_lease(lease_id), tokens=1))
    outcomes.admission("acme", "0c")
    assert outcomes.look() == LOOKS_MS[0]
    assert looks.asked == ["0a", "0b", ("acme", "0c")]
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert not outcomes.waiting


def test_what_breaks_us_is_told_as_of_a_thread_that_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks()
    told: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))

    def broken(_: Lease, __: Entry) -> None:
        raise ZeroDivisionError

    outcomes = UnknownOutcomes(looks._release, broken, lease_ms=LEASE_MS, begin=looks.begun.append)
    outcomes.settlement(_lease("0a"), entry(_lease("0a"), tokens=1))
    looks.begun[0].work()
    assert told == [ZeroDivisionError]
    outcomes.settlement(_lease("0b"), entry(_lease("0b"), tokens=1))
    assert len(looks.begun) == 2


def test_work_that_breaks_may_be_begun_again() -> None:
    looks, times = Looks(), iter([0])  # a clock that stops
    outcomes = UnknownOutcomes(
        looks._release, looks._settle, lease_ms=LEASE_MS, begin=looks.begun.append, clock=lambda: next(times)
    )
    outcomes.settlement(_lease("0a"), entry(_lease("0a"), tokens=1))
    with pytest.raises(StopIteration):
        looks.begun[0].work()
    times = iter([1])
    outcomes.settlement(_lease("0b"), entry(_lease("0b"), tokens=1))
    assert len(looks.begun) == 2


def test_what_is_too_much_to_remember_is_left_to_expiry_the_oldest_first() -> None:
    looks = Looks()
    for number in range(MOST + 2):
        looks.outcomes.admission("acme", f"0a{number}")
    asked, _ = looks.at(0)
    assert asked == [("acme", *[f"0a{number}" for number in range(2, MOST + 2)])]
