"""Admission against the model: whatever is called, in whatever order, by whomever, and whoever dies."""

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chalicelib.admission import Admission, LeaseLost, Meter, StaleEpoch
from chalicelib.admission.limits import Limits, Rate, Units
from chalicelib.admission.meter import Lease
from chalicelib.ledger import Entry
from chalicelib.refusal import Refusal, TooLarge
from tests.admission.arrange import REGION, T0, some_limits, units
from tests.admission.backing import BackingName, open_backing
from tests.admission.model import Model, Request, WindowOf, assert_curve
from tests.examples import examples
from tests.stores import Served

LEASE_MS = 3_000
_KEY_UNITS = {"r": "requests", "t": "tokens", "m": "micro_usd", "g": "gpu_ms"}
_KEY_KINDS = {"i": "minute", "h": "hour", "d": "day", "m": "month"}

picks = st.integers(0, 1_000)
pauses_ms = st.one_of(st.integers(0, 40), st.integers(0, 2_000), st.sampled_from([LEASE_MS, 61_000, 3_700_000, 10**8]))


class Sandbox:
    """One process: its caches, and its copy of the tenant, which may be old."""

    def __init__(self, admission: Admission, epoch: int, of: Limits) -> None:
        self.admission = admission
        self.epoch = epoch
        self.limits = of
        self.denied_ms = 0  # when it was last denied by a rate


class Machine(RuleBasedStateMachine):
    """Two sandboxes, one tenant, one clock."""

    def __init__(self, backing_name: BackingName, stores: Served) -> None:
        super().__init__()
        self.backing = open_backing(backing_name, stores)
        self.leases: dict[str, Lease] = {}  # of requests whose worker is alive
        self.count = 0
        self.curves: dict[tuple[str, str, int, int], int] = {}  # the largest burst that a rate ever had

    @initialize(of=some_limits())
    def open(self, of: Limits) -> None:
        epoch = self.backing.meters.open("acme", T0)
        self.model = Model(of, epoch, T0)
        self.sandboxes = [Sandbox(self.backing.sandbox(LEASE_MS), epoch, of) for _ in range(2)]
        self._note_rates(of.rates)

    # What callers do

    @rule(which=st.integers(0, 1), amounts=st.lists(units, min_size=1, max_size=6), pause_ms=st.integers(0, 200))
    def admit(self, which: int, amounts: list[Units], pause_ms: int) -> None:
        sandbox = self.sandboxes[which]
        for amount in amounts:
            self._admit(sandbox, amount)
            self.model.now_ms += pause_ms

    def _admit(self, sandbox: Sandbox, amount: Units) -> None:
        model = self.model
        self.count += 1
        lease_id = f"0{self.count}"
        stale = sandbox.epoch != model.epoch
        before = self._all_denials(amount, counting_expired=True)
        least = self._all_denials(amount, counting_expired=False)
        try:
            lease = sandbox.admission.admit(
                tenant="acme",
                epoch=sandbox.epoch,
                limits=sandbox.limits,
                units=amount,
                lease_id=lease_id,
                now_ms=model.now_ms,
            )
        except StaleEpoch:
            assert stale
            self._read_again(sandbox)
            return
        except TooLarge:
            assert not stale
            assert model.impossible(model.limits, amount)
            return
        except Refusal as refusal:
            remembered = 0 <= model.now_ms - sandbox.denied_ms < 1_000
            self._follow(expired_may_go=True)
            assert refusal.retry_in_ms is not None
            assert refusal.retry_in_ms > 0
            if not stale:
                assert type(refusal) in before
                assert least, "it would have passed"
            else:
                assert refusal.limit in {rate.name for rate in sandbox.limits.rates}
                assert remembered
            if refusal.limit in {rate.name for rate in sandbox.limits.rates} and not remembered:
                sandbox.denied_ms = model.now_ms
            return
        assert not stale
        assert not model.impossible(model.limits, amount)
        self._follow(expired_may_go=bool(model.crowded(counting_expired=True)))
        assert not model.must_deny(amount)
        assert not model.crowded(counting_expired=True)
        model.admitted(lease_id, amount, LEASE_MS)
        self.leases[lease_id] = lease

    @rule(which=st.integers(0, 1), picked=st.lists(picks, min_size=1, max_size=4), used=units)
    def settle(self, which: int, picked: list[int], used: Units) -> None:
        """Now and then for the second time."""
        for pick in picked:
            held = {name: lease for name, lease in self.leases.items() if self.model.requests[name].held}
            request = self._pick(pick, held if pick % 5 else self.leases)
            if request is not None:
                self._settle(which, request, used)

    def _settle(self, which: int, request: Request, used: Units) -> None:
        lease = self.leases[request.lease_id]
        written = self._entry(request, used)
        decided = self.sandboxes[which].admission.settle(lease, written)
        if request.charged is None:
            self.model.ended(request, written.outcome, used.at_most(request.units))
            request.held = False
        elif request.outcome != "abandoned":
            request.held = False
        elif request.late is None:
            request.late = used
        assert (decided.outcome, decided.charged, decided.late) == (request.outcome, request.charged, request.late)

    @rule(which=st.integers(0, 1), pick=picks)
    def renew(self, which: int, pick: int) -> None:
        request = self._pick(pick, self.leases)
        if request is None:
            return
        lease = self.leases[request.lease_id]
        try:
            lease = self.sandboxes[which].admission.renew(lease, self.model.now_ms)
        except LeaseLost:
            assert not request.held
        else:
            assert request.held
            request.expires_ms = lease.expires_ms

    @rule(pick=picks)
    def crash(self, pick: int) -> None:
        """The worker dies, and its lease stays."""
        request = self._pick(pick, self.leases)
        if request is not None:
            del self.leases[request.lease_id]

    @rule(pick=picks, used=units)
    def crash_between_entry_and_meter(self, pick: int, used: Units) -> None:
        request = self._pick(pick, self.leases)
        if request is None:
            return
        written = self._entry(request, used.at_most(request.units))
        if self.backing.ledger.put_if_absent(written) is None:
            self.model.ended(request, written.outcome, written.charged)
        del self.leases[request.lease_id]

    # What happens around them

    @rule(pause_ms=pauses_ms)
    def wait(self, pause_ms: int) -> None:
        self.model.now_ms += pause_ms

    @rule(which=st.integers(0, 1))
    def reap(self, which: int) -> None:
        expected = len(self.model.expired())
        assert self.sandboxes[which].admission.reap(self.model.now_ms) == expected
        self._follow(expired_may_go=True)
        assert not self.model.expired()

    @rule()
    @precondition(lambda self: self.model.expired())
    def reaper_dies_between_entry_and_meter(self) -> None:
        request = self.model.expired()[0]
        written = self._entry(request, Units(), outcome_abandoned=True)
        if self.backing.ledger.put_if_absent(written) is None:
            self.model.ended(request, "abandoned", Units())

    @rule(of=some_limits())
    def change_limits(self, of: Limits) -> None:
        self.model.limits = of
        self.model.epoch = self.backing.meters.bump("acme")
        self._note_rates(of.rates)

    def _read_again(self, sandbox: Sandbox) -> None:
        assert self.backing.meters.read("acme") == self.model.epoch
        sandbox.denied_ms = 0
        sandbox.epoch, sandbox.limits = self.model.epoch, self.model.limits

    @rule(which=st.integers(0, 1))
    def lose_caches(self, which: int) -> None:
        old = self.sandboxes[which]
        self.sandboxes[which] = Sandbox(self.backing.sandbox(LEASE_MS), old.epoch, old.limits)

    # What must be true

    @invariant()
    def the_meter_is_what_the_model_says(self) -> None:
        meter = self._meter()
        assert meter.epoch == self.model.epoch
        assert set(meter.leases) == {request.lease_id for request in self.model.requests.values() if request.held}
        for name, (window, used) in meter.windows.items():
            assert used == self.model.used(_window(name, window))

    @invariant()
    def every_lease_names_a_set_of_the_budgets_that_it_reserved_in(self) -> None:
        meter = self._meter()
        assert meter.sets is not None
        for held in meter.leases.values():
            assert set(held.windows) <= set(meter.sets[held.budget_set])

    @invariant()
    def every_request_has_at_most_one_entry_and_it_says_what_was_charged(self) -> None:
        for request in self.model.requests.values():
            if request.charged is not None and not request.held:
                found = self.backing.ledger.find("acme", request.lease_id) if request.lease_id in self.leases else None
                assert found is None or (found.outcome, found.charged) == (request.outcome, request.charged)

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        model = self.model
        for key, bucket in model.buckets.items():
            assert_curve(bucket.history, self.curves[key], key[2], key[3])
        model.now_ms += LEASE_MS + 1
        self.sandboxes[0].admission.reap(model.now_ms)
        self._follow(expired_may_go=True)
        assert self._meter().leases == {}
        self.the_meter_is_what_the_model_says()
        entries: list[Entry] = []
        cursor = None
        while True:
            page, cursor = self.backing.ledger.page("acme", 0, 2**49, cursor, 100)
            entries += page
            if cursor is None:
                break
        assert sorted(entry.lease_id for entry in entries) == sorted(model.requests)
        assert {entry.lease_id: entry.charged for entry in entries} == {
            request.lease_id: request.charged for request in model.requests.values()
        }
        # Those who come back only now are told, and nothing moves any more.
        before = self._meter()
        for lease_id in list(self.leases):
            self._settle(0, model.requests[lease_id], Units(requests=1, tokens=1))
        assert self._meter() == before

    # Means

    def _all_denials(self, amount: Units, *, counting_expired: bool) -> set[type[Refusal]]:
        return self.model.may_deny(amount) | self.model.crowded(counting_expired=counting_expired)

    def _follow(self, *, expired_may_go: bool) -> None:
        """Take note of the leases that others finished: only expired ones, and by their entry."""
        there = self._meter().leases
        for request in self.model.requests.values():
            if request.held and request.lease_id not in there:
                assert expired_may_go
                assert request.expires_ms < self.model.now_ms
                entry = self.backing.ledger.find("acme", request.lease_id)
                assert entry is not None
                if request.charged is None:
                    assert (entry.outcome, entry.charged) == ("abandoned", Units())
                    self.model.ended(request, "abandoned", Units())
                assert (entry.outcome, entry.charged) == (request.outcome, request.charged)
                request.held = False

    def _pick(self, pick: int, among: dict[str, Lease]) -> Request | None:
        return self.model.requests[sorted(among)[pick % len(among)]] if among else None

    def _note_rates(self, rates: tuple[Rate, ...]) -> None:
        for rate in rates:
            key = (rate.name, rate.unit, rate.count, rate.period_ms)
            self.curves[key] = max(rate.burst, self.curves.get(key, 0))

    def _meter(self) -> Meter:
        meter = self.backing.meters.reading("acme")
        assert meter is not None
        return meter

    def _entry(self, request: Request, used: Units, outcome_abandoned: bool = False) -> Entry:
        return Entry(
            tenant="acme",
            lease_id=request.lease_id,
            request_id=request.lease_id,
            outcome="abandoned" if outcome_abandoned else "completed",
            reason="",
            used=used,
            charged=used,
            admitted_ms=request.admitted_ms,
            settled_ms=self.model.now_ms,
            region=REGION,
        )


def _window(key: str, window: str) -> WindowOf:
    """The meter's names, read by hand."""
    name, _, code = key.rpartition(".")
    parts = tuple(int(part) for part in window.replace("T", "-").replace(":", "-").split("-"))
    return name, _KEY_UNITS[code[0]], _KEY_KINDS[code[1]], parts


@pytest.mark.parametrize(
    ("backing_name", "number", "steps"), [("memory", 300, 50), ("local", 12, 50), ("ministack", 25, 50)]
)
def test_the_invariants_hold(stores: Served, backing_name: BackingName, number: int, steps: int) -> None:
    class Here(Machine):
        def __init__(self) -> None:
            super().__init__(backing_name, stores)

    chosen = settings(max_examples=examples(number), stateful_step_count=steps, phases=[Phase.generate, Phase.shrink])
    run_state_machine_as_test(Here, settings=chosen)
