"""Admission over a store of which often nothing is heard: whatever it did, and whenever, ends as if all had been heard.

The stores are those in memory; what lies before them loses answers, and keeps writes to make them late. Every write
leaves twice, as over the wire (chalicelib/dynamodb.py). No lease expires here: what is told is what no reaper mends.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Literal

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chalicelib.admission import Admission, Budget, Lost, Meter, Units
from chalicelib.admission.decision import Release, Write
from chalicelib.admission.memory import MemoryMeters
from chalicelib.admission.meter import Held, Lease
from chalicelib.admission.outcomes import LOOKS_MS, UnknownOutcomes
from chalicelib.ledger import Entry
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.refusal import Refusal, StoreUnavailable
from tests.admission.arrange import REGION, T0, entry, limits
from tests.examples import examples

Fate = Literal["heard", "lost", "late"]

fates = st.lists(st.sampled_from(["heard", "lost", "late", "late"]), max_size=8)
LIMITS = limits(Budget("hour", "tokens", 60, "hour"), Budget("soft", "requests", 1, "day", hard=False), in_flight=4)
LATEST_MS = sum(LOOKS_MS) // 2
LEASE_MS = 10**9


class Way:
    """To the store, and what becomes of what goes there."""

    def __init__(self) -> None:
        self.fates: list[Fate] = []
        self.late: list[Callable[[], object]] = []
        self.unheard: set[str] = set()  # leases of which a sending was not answered

    def send(self, write: Callable[[], object], unheard: Callable[[], None] = lambda: None) -> object:
        for _ in range(2):
            fate = self.fates.pop(0) if self.fates else "heard"
            if fate == "heard":
                return write()
            if fate == "lost":
                _made(write)
            else:
                self.late.append(write)
            unheard()
        raise StoreUnavailable


def _made(write: Callable[[], object]) -> None:
    with suppress(Lost):
        write()


class FarMeters:
    """Implements Meters."""

    def __init__(self, meters: MemoryMeters, way: Way) -> None:
        self._meters = meters
        self._way = way

    def admit(self, write: Write, unheard: Callable[[], None]) -> Meter:
        def count() -> None:
            self._way.unheard.add(write.lease_id)
            unheard()

        after = self._way.send(lambda: self._meters.admit(write, unheard), count)
        assert isinstance(after, Meter)
        return after

    def release(self, release: Release) -> None:
        if release.lease_id in self._way.unheard:
            # Where neither is heard of, the lease of one sending is taken for the other's: docs/admission.md, "Weak".
            return self._meters.release(release)
        self._way.send(lambda: self._meters.release(release))
        return None

    def renew(self, lease: Lease) -> bool:
        return self._meters.renew(lease)

    def expired(self, now_ms: int) -> Iterator[tuple[str, str, Held]]:
        return self._meters.expired(now_ms)

    def reading(self, tenant: str) -> Meter | None:
        return self._meters.reading(tenant)


class FarLedger(MemoryLedger):
    def __init__(self, way: Way) -> None:
        super().__init__()
        self._way = way

    def put_if_absent(self, entry: Entry) -> Entry | None:
        there = self._way.send(lambda: super(FarLedger, self).put_if_absent(entry))
        assert there is None or isinstance(there, Entry)
        return there


class Unheard(RuleBasedStateMachine):
    """Two sandboxes of one tenant; `monotonic` runs, the wall's clock stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.way = Way()
        self.meters = MemoryMeters()
        self.ledger = FarLedger(self.way)
        self.now_ms = 0
        self.latest_ms = LATEST_MS  # until when all that is late is made
        self.outcomes: list[UnknownOutcomes] = []
        self.epoch = self.meters.open("acme", T0)
        self.sandboxes = [self._sandbox() for _ in range(2)]
        self.running: list[Lease] = []
        self.charged: dict[str, int] = {}  # lease id -> tokens, of what was settled or will be
        self.count = 0

    def _sandbox(self) -> Admission:
        return Admission(
            FarMeters(self.meters, self.way),
            self.ledger,
            lease_ms=LEASE_MS,
            region=REGION,
            pause=lambda _: None,
            begin=self.outcomes.append,
            monotonic=lambda: self.now_ms,
        )

    @rule(which=st.integers(0, 1), tokens=st.integers(1, 30), fate=fates)
    def admit(self, which: int, tokens: int, fate: list[Fate]) -> None:
        self.count += 1
        self.way.fates = fate
        try:
            lease = self.sandboxes[which].admit(
                tenant="acme",
                epoch=self.epoch,
                limits=LIMITS,
                units=Units(requests=1, tokens=tokens),
                lease_id=f"0{self.count}",
                now_ms=T0,
            )
        except Refusal:
            return
        self.running.append(lease)

    @rule(which=st.integers(0, 1), pick=st.integers(0, 100), used=st.integers(0, 40), fate=fates)
    def settle(self, which: int, pick: int, used: int, fate: list[Fate]) -> None:
        if not self.running:
            return
        lease = self.running.pop(pick % len(self.running))
        self._settle(self.sandboxes[which], lease, used, fate)

    def _settle(self, sandbox: Admission, lease: Lease, used: int, fate: list[Fate]) -> None:
        self.way.fates = fate
        self.charged[lease.lease_id] = min(used, lease.reserved.tokens)
        with suppress(StoreUnavailable):  # it is repeated
            sandbox.settle(lease, entry(lease, tokens=used))

    @rule(pick=st.integers(0, 100))
    def a_late_write_is_made(self, pick: int) -> None:
        if self.way.late:
            _made(self.way.late.pop(pick % len(self.way.late)))

    @rule(pause_ms=st.integers(0, LATEST_MS // 2), fate=fates)
    def look(self, pause_ms: int, fate: list[Fate]) -> None:
        self._wait(pause_ms)
        self.way.fates = fate
        for outcomes in self._at_work():
            outcomes.look()

    def _wait(self, pause_ms: int) -> None:
        self.now_ms += pause_ms
        if self.now_ms > self.latest_ms:
            while self.way.late:
                _made(self.way.late.pop())
            self.latest_ms = self.now_ms + LATEST_MS

    def _at_work(self) -> list[UnknownOutcomes]:
        return list({id(each): each for each in self.outcomes}.values())

    @invariant()
    def no_limit_is_passed(self) -> None:
        meter = self._meter()
        assert len(meter.leases) <= LIMITS.in_flight
        assert meter.windows.get("hour.th", ("", 0))[1] <= 60

    @invariant()
    def whoever_runs_has_a_lease(self) -> None:
        assert {lease.lease_id for lease in self.running} <= set(self._meter().leases)

    def teardown(self) -> None:
        self.way.fates = []
        while self.way.late:
            _made(self.way.late.pop())
        for outcomes in self._at_work():
            while outcomes.look() is not None:
                self.now_ms += 500
        self.no_limit_is_passed()
        assert set(self._meter().leases) == {lease.lease_id for lease in self.running}
        for lease in self.running:
            self._settle(self.sandboxes[0], lease, 1, [])
        self.assert_all_is_settled()

    def assert_all_is_settled(self) -> None:
        meter = self._meter()
        assert meter.leases == {}
        assert meter.windows.get("hour.th", ("", 0))[1] == sum(self.charged.values())
        assert meter.windows.get("soft.rd", ("", 0))[1] == len(self.charged)
        entries = self.ledger.page("acme", 0, 2**49, None, 1_000).entries
        assert {each.lease_id: each.charged.tokens for each in entries} == self.charged

    def _meter(self) -> Meter:
        meter = self.meters.reading("acme")
        assert meter is not None
        return meter


def test_what_nobody_heard_of_ends_as_if_it_had_been_heard() -> None:
    chosen = settings(max_examples=examples(300), stateful_step_count=40, phases=[Phase.generate, Phase.shrink])
    run_state_machine_as_test(Unheard, settings=chosen)
