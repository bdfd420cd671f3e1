"""What admission promises, over every implementation of its seams."""

import pytest

from chalicelib.admission import Admission, LeaseLost, NoMeter, StaleEpoch, gate
from chalicelib.admission.limits import Budget, Limits, Rate, Units
from chalicelib.admission.meter import Lease
from chalicelib.refusal import Crowded, OverBudget, QuotaExhausted, RateLimited, TooLarge
from tests.admission.arrange import MONTH, REGION, ROOMY, T0, entry, limits
from tests.admission.backing import LEASE_MS, Backing, backing_over
from tests.stores import Served, StoreName, fresh_tables, sent

EXPIRED = T0 + LEASE_MS + 1
SLOW = Rate("slow", "requests", 1, 1_000, 2)  # one at once, then one a second


class Tenant:
    """One tenant as a sandbox knows it: its epoch and limits may be out of date."""

    def __init__(self, backing: Backing, of: Limits, name: str = "acme") -> None:
        self.backing = backing
        self.limits = of
        self.name = name
        self.epoch = backing.meters.open(name, T0)
        self.sandbox: Admission = backing.sandbox()
        self._calls = 0

    def admit(
        self, tokens: int = 10, *, at_ms: int = T0, lease_id: str | None = None, sandbox: Admission | None = None
    ) -> Lease:
        self._calls += 1
        return (sandbox or self.sandbox).admit(
            tenant=self.name,
            epoch=self.epoch,
            limits=self.limits,
            units=Units(requests=1, tokens=tokens),
            lease_id=lease_id or f"0lease{self._calls:04}",
            now_ms=at_ms,
        )

    def used(self, key: str = "month.tm") -> int:
        meter = self.backing.meters.reading(self.name)
        assert meter is not None
        return meter.windows[key][1]

    def in_flight(self) -> int:
        meter = self.backing.meters.reading(self.name)
        assert meter is not None
        return len(meter.leases)


def test_a_request_is_reserved_then_charged_what_it_used(backing: Backing) -> None:
    acme = Tenant(backing, limits(ROOMY, MONTH))
    lease = acme.admit(tokens=500)
    assert (acme.used(), acme.in_flight()) == (500, 1)
    written = entry(lease, tokens=120)
    assert acme.sandbox.settle(lease, written) == written
    assert (acme.used(), acme.in_flight()) == (120, 0)
    assert backing.ledger.find("acme", lease.lease_id) == written


def test_nothing_is_charged_beyond_the_reservation(backing: Backing) -> None:
    acme = Tenant(backing, limits(MONTH))
    lease = acme.admit(tokens=100)
    used = entry(lease, tokens=130)
    decided = acme.sandbox.settle(lease, used)
    assert (decided.used.tokens, decided.charged.tokens, acme.used()) == (130, 100, 100)


def test_settling_again_changes_nothing(backing: Backing) -> None:
    acme = Tenant(backing, limits(MONTH))
    lease, other = acme.admit(tokens=100), acme.admit(tokens=100)
    first = acme.sandbox.settle(lease, entry(lease, tokens=30))
    assert acme.sandbox.settle(lease, entry(lease, tokens=99)) == first
    assert backing.sandbox().settle(lease, entry(lease, tokens=1)) == first
    assert (acme.used(), acme.in_flight()) == (130, 1)
    acme.sandbox.settle(other, entry(other, tokens=0))
    assert acme.used() == 30


def test_repeating_an_admission_is_the_same_lease(backing: Backing) -> None:
    acme = Tenant(backing, limits(SLOW, MONTH, in_flight=1))
    first = acme.admit(lease_id="0same")
    again = acme.admit(lease_id="0same", sandbox=backing.sandbox())
    assert (again.lease_id, again.windows, again.expires_ms) == (first.lease_id, first.windows, first.expires_ms)
    assert (acme.used(), acme.in_flight()) == (10, 1)


def test_a_rate_denies_with_its_name_what_remains_and_the_exact_wait(backing: Backing) -> None:
    acme = Tenant(backing, limits(SLOW))
    acme.admit()
    with pytest.raises(RateLimited) as denied:
        acme.admit(at_ms=T0 + 100)
    # Half of the burst is there at T0 + 250: the other half is the first call's, and 250 ms are slack.
    assert (denied.value.limit, denied.value.remaining, denied.value.retry_in_ms) == ("slow", 0, 150)
    with pytest.raises(RateLimited):
        acme.admit(at_ms=T0 + 249, sandbox=backing.sandbox())
    acme.admit(at_ms=T0 + 250)


def test_a_denied_call_consumes_no_other_limit(backing: Backing) -> None:
    acme = Tenant(backing, limits(ROOMY, SLOW, MONTH))
    acme.admit(tokens=10)
    before = backing.meters.reading("acme")
    with pytest.raises(RateLimited):
        acme.admit(tokens=10)
    assert backing.meters.reading("acme") == before


def test_a_plans_budget_and_the_tenants_own_are_different_refusals(backing: Backing) -> None:
    plan = Budget("hour", "tokens", 100, "hour")
    own = Budget("mine", "tokens", 100, "hour", source="tenant")
    for budget, refusal in ((plan, QuotaExhausted), (own, OverBudget)):
        tenant = Tenant(backing, limits(budget), name=budget.name)
        tenant.admit(tokens=70)
        with pytest.raises(refusal) as denied:
            tenant.admit(tokens=40)
        left_ms = 3_600_000 - T0 % 3_600_000
        assert (denied.value.limit, denied.value.remaining, denied.value.retry_in_ms) == (budget.name, 30, left_ms)
        tenant.admit(tokens=30)
        tenant.admit(tokens=100, at_ms=T0 + left_ms)


def test_a_soft_budget_counts_and_denies_nothing(backing: Backing) -> None:
    acme = Tenant(backing, limits(Budget("soft", "tokens", 10, "day", hard=False)))
    acme.admit(tokens=50)
    acme.admit(tokens=50)
    assert acme.used("soft.td") == 100


def test_the_cap_counts_requests_in_flight(backing: Backing) -> None:
    acme = Tenant(backing, limits(in_flight=2))
    first, _ = acme.admit(), acme.admit()
    with pytest.raises(Crowded) as denied:
        acme.admit()
    assert (denied.value.limit, denied.value.remaining) == ("in_flight", 0)
    acme.sandbox.settle(first, entry(first, tokens=1))
    acme.admit()


def test_the_strictest_of_several_denials_is_told(backing: Backing) -> None:
    acme = Tenant(backing, limits(SLOW, Budget("hour", "tokens", 10, "hour"), in_flight=1))
    acme.admit(tokens=10)
    with pytest.raises(QuotaExhausted):
        acme.admit(tokens=10)


def test_what_can_never_pass_is_not_told_to_wait(backing: Backing) -> None:
    acme = Tenant(backing, limits(Rate("tpm", "tokens", 100, 1_000, 200), Budget("hour", "tokens", 150, "hour")))
    with pytest.raises(TooLarge) as denied:
        acme.admit(tokens=201)
    assert (denied.value.limit, denied.value.remaining, denied.value.retry_in_ms) == ("tpm", 200, None)
    with pytest.raises(TooLarge) as denied:
        acme.admit(tokens=151)
    assert (denied.value.limit, denied.value.remaining) == ("hour", 150)


def test_a_raised_limit_is_not_hidden_by_an_old_copy(backing: Backing) -> None:
    acme = Tenant(backing, limits(Budget("hour", "tokens", 100, "hour")))
    backing.meters.bump("acme")
    with pytest.raises(StaleEpoch):
        acme.admit(tokens=500)


def test_a_bumped_epoch_stops_every_old_copy_at_once(backing: Backing) -> None:
    acme = Tenant(backing, limits(ROOMY))
    acme.admit()
    elsewhere = backing.sandbox()
    acme.admit(sandbox=elsewhere)
    old, new = acme.epoch, backing.meters.bump("acme")
    assert (new, backing.meters.read("acme")) == (old + 1, old + 1)
    for sandbox in (acme.sandbox, elsewhere):
        with pytest.raises(StaleEpoch):
            acme.admit(sandbox=sandbox)
    acme.epoch = new
    acme.admit(sandbox=elsewhere)


def test_a_tenant_that_does_not_exist_is_a_stale_copy_and_has_no_epoch(backing: Backing) -> None:
    acme = Tenant(backing, limits(ROOMY))
    acme.name = "nobody"
    with pytest.raises(StaleEpoch):
        acme.admit()
    with pytest.raises(StaleEpoch):
        acme.admit(tokens=10**9)
    for look in (backing.meters.read, backing.meters.bump):
        with pytest.raises(NoMeter):
            look("nobody")
    assert backing.meters.reading("nobody") is None


def test_opening_a_meter_again_leaves_it_alone(backing: Backing) -> None:
    acme = Tenant(backing, limits(MONTH))
    acme.admit(tokens=10)
    assert backing.meters.open("acme", T0 + 5) == acme.epoch == T0
    assert acme.used() == 10


def test_a_new_month_starts_at_nothing(backing: Backing) -> None:
    acme = Tenant(backing, limits(MONTH))
    acme.admit(tokens=10)
    acme.admit(tokens=20, at_ms=T0 + 20 * 86_400_000)
    assert acme.used() == 20


def test_a_settlement_after_the_window_turned_corrects_nothing(backing: Backing) -> None:
    acme = Tenant(backing, limits(MONTH, Budget("all", "tokens", 10**6, "month", hard=False)))
    early = acme.admit(tokens=100)
    acme.admit(tokens=20, at_ms=T0 + 20 * 86_400_000)
    acme.sandbox.settle(early, entry(early, tokens=1))
    assert (acme.used("month.tm"), acme.used("all.tm"), acme.in_flight()) == (20, 20, 1)


def test_a_slow_clock_does_not_bring_an_old_window_back(backing: Backing) -> None:
    acme = Tenant(backing, limits(Budget("minute", "tokens", 100, "minute")))
    acme.admit(tokens=60, at_ms=T0 + 60_000)
    with pytest.raises(QuotaExhausted) as denied:
        acme.admit(tokens=60, sandbox=backing.sandbox())
    assert denied.value.retry_in_ms == 60_000 + 60_000 - T0 % 60_000
    slow = acme.admit(tokens=30, sandbox=backing.sandbox())
    assert acme.used("minute.ti") == 90
    acme.sandbox.settle(slow, entry(slow, tokens=5))
    assert acme.used("minute.ti") == 65


def test_renewing_keeps_a_lease_alive(backing: Backing) -> None:
    acme = Tenant(backing, limits(MONTH))
    lease = acme.sandbox.renew(acme.admit(), T0 + 30_000)
    assert lease.expires_ms == T0 + 30_000 + LEASE_MS
    assert acme.sandbox.reap(EXPIRED) == 0
    assert acme.sandbox.reap(T0 + 30_000 + LEASE_MS + 1) == 1
    with pytest.raises(LeaseLost):
        acme.sandbox.renew(lease, T0 + 31_000)


def test_a_dead_requests_lease_is_abandoned_and_charged_nothing(backing: Backing) -> None:
    acme = Tenant(backing, limits(MONTH))
    lease = acme.admit(tokens=500)
    assert backing.sandbox().reap(EXPIRED) == 1
    assert (acme.used(), acme.in_flight()) == (0, 0)
    found = backing.ledger.find("acme", lease.lease_id)
    assert found is not None
    assert (found.outcome, found.charged, found.admitted_ms) == ("abandoned", Units(), T0)
    assert backing.sandbox().reap(EXPIRED) == 0


def test_a_crash_between_entry_and_meter_is_finished_by_the_entry(backing: Backing) -> None:
    acme = Tenant(backing, limits(MONTH))
    lease = acme.admit(tokens=500)
    written = entry(lease, tokens=120)
    backing.ledger.put_if_absent(written)
    assert backing.sandbox().reap(EXPIRED) == 1
    assert (acme.used(), acme.in_flight()) == (120, 0)
    assert backing.ledger.find("acme", lease.lease_id) == written


def test_the_next_admission_finishes_the_dead_when_they_crowd_it_out(backing: Backing) -> None:
    acme = Tenant(backing, limits(MONTH, in_flight=2))
    dead = [acme.admit(tokens=100), acme.admit(tokens=100)]
    acme.admit(tokens=7, at_ms=EXPIRED, sandbox=backing.sandbox())
    assert (acme.used(), acme.in_flight()) == (7, 1)
    found = [backing.ledger.find("acme", lease.lease_id) for lease in dead]
    assert [each.outcome for each in found if each] == ["abandoned", "abandoned"]


def test_a_worker_that_comes_back_too_late_is_noted_and_not_charged(backing: Backing) -> None:
    acme = Tenant(backing, limits(MONTH))
    lease = acme.admit(tokens=500)
    backing.sandbox().reap(EXPIRED)
    decided = acme.sandbox.settle(lease, entry(lease, tokens=400))
    assert (decided.outcome, decided.charged, decided.late) == ("abandoned", Units(), Units(requests=1, tokens=400))
    assert acme.sandbox.settle(lease, entry(lease, tokens=1)) == decided
    assert backing.ledger.find("acme", lease.lease_id) == decided
    assert acme.used() == 0


def test_an_abandoned_lease_that_is_still_there_is_left_to_its_finder(backing: Backing) -> None:
    acme = Tenant(backing, limits(MONTH))
    lease = acme.admit(tokens=500)
    abandoned = entry(lease, tokens=0, outcome="abandoned")
    backing.ledger.put_if_absent(abandoned)
    acme.sandbox.settle(lease, entry(lease, tokens=400))
    assert acme.in_flight() == 1
    backing.sandbox().reap(EXPIRED)
    assert (acme.used(), acme.in_flight()) == (0, 0)


def test_the_reaper_looks_at_every_tenant(backing: Backing) -> None:
    tenants = [Tenant(backing, limits(), name=f"tenant{i}") for i in range(5)]
    for tenant in tenants:
        tenant.admit()
    assert backing.sandbox().reap(EXPIRED) == 5
    assert [tenant.in_flight() for tenant in tenants] == [0] * 5


def test_the_reaper_reads_every_page(stores: Served, store: StoreName) -> None:
    tables = fresh_tables(stores.url(store))
    backing = backing_over(tables)
    for name in ("one", "two", "three", "four", "five"):
        Tenant(backing, limits(), name=name).admit()
        # A page ends at a megabyte.
        tables.call(
            "UpdateItem",
            TableName=tables.meters,
            Key={"pk": {"S": f"{name}#{REGION}"}},
            UpdateExpression="SET ballast = :ballast",
            ExpressionAttributeValues={":ballast": {"S": "x" * 350_000}},
        )
    calls = sent(tables)
    assert backing.sandbox().reap(EXPIRED) == 5
    assert calls.count("Scan") > 1


def test_a_changed_rate_starts_afresh_and_changing_back_finds_the_old_debt(backing: Backing) -> None:
    acme = Tenant(backing, limits(SLOW))
    acme.admit()
    acme.limits, acme.epoch = limits(Rate("slow", "requests", 2, 1_000, 4)), backing.meters.bump("acme")
    acme.admit()
    acme.limits, acme.epoch = limits(SLOW), backing.meters.bump("acme")
    with pytest.raises(RateLimited):
        acme.admit()


def test_what_no_limit_names_any_more_leaves_the_meter(backing: Backing) -> None:
    acme = Tenant(backing, limits(SLOW, MONTH))
    acme.admit()
    acme.limits, acme.epoch = limits(in_flight=4), backing.meters.bump("acme")
    later = T0 + 40 * 86_400_000
    acme.admit(at_ms=later)
    acme.admit(at_ms=later)
    meter = backing.meters.reading("acme")
    assert meter is not None
    assert (dict(meter.tats), dict(meter.windows)) == ({}, {})


def test_of_more_meters_than_are_remembered_only_those_used_longest_ago_are_forgotten(
    backing: Backing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MOST_SEEN", 3)
    sandbox, names = backing.sandbox(), ("one", "two", "three", "four")
    tenants = {name: Tenant(backing, limits(MONTH), name) for name in names}
    for name in ("one", "two", "three", "one", "four"):
        tenants[name].admit(sandbox=sandbox)
    assert [name for name in names if sandbox.remembered(name)] == ["one", "three", "four"]


def test_the_standing_of_every_limit_comes_with_the_lease(backing: Backing) -> None:
    acme = Tenant(backing, limits(SLOW, MONTH))
    slow, month = acme.admit(tokens=100).standing
    assert (slow.name, slow.quota, slow.window_s, slow.remaining, slow.reset_ms) == ("slow", 2, 2, 0, 1_250)
    assert (month.name, month.quota, month.remaining) == ("month", 1_000_000, 999_900)
