"""What a tenant with several meters is promised, over every implementation of the seams."""

import msgspec
import pytest

from chalicelib.admission import StaleEpoch
from chalicelib.admission.limits import DEFAULT_LIMITS, Budget, Limits, Rate
from chalicelib.admission.shares.arithmetic import shards_of
from chalicelib.admission.shares.book import is_settled
from chalicelib.admission.shares.post import changed
from chalicelib.refusal import Crowded, QuotaExhausted, RateLimited, TooLarge
from tests.admission.arrange import MONTH, ROOMY, limits
from tests.admission.backing import Backing
from tests.admission.shares.tenant import LEASE_MS, Tenant

BUSY = limits(ROOMY, Budget("month", "tokens", 10**9, "month"), in_flight=80)
SMALL = limits(ROOMY, Budget("month", "tokens", 10**9, "month"), in_flight=8)


def test_who_needs_one_meter_has_one(backing: Backing) -> None:
    assert shards_of(DEFAULT_LIMITS) == 1
    assert shards_of(limits(Rate("few", "requests", 1, 1_000, 5), in_flight=100)) == 2
    assert shards_of(limits(MONTH, in_flight=100)) == 5
    assert shards_of(BUSY) == 4
    assert shards_of(limits(in_flight=256)) == 12
    acme = Tenant(backing, SMALL)
    acme.sandbox().admit()
    assert acme.backing.keeping.book("acme") is None
    meter = backing.meters.reading("acme")
    assert meter is not None
    assert meter.epoch > 0


def test_all_places_are_there_and_not_one_more(backing: Backing) -> None:
    acme = Tenant(backing, BUSY)
    sandboxes = [acme.sandbox(chance) for chance in (0, 7)]
    leases = [sandboxes[turn % 2].admit() for turn in range(80)]
    assert len({lease.meter for lease in leases}) == 4
    for sandbox in sandboxes:
        refusal = sandbox.refused()
        assert isinstance(refusal, Crowded)
        assert "All 80" in str(refusal)
    sandboxes[0].settle(leases[0])
    sandboxes[0].admit()


def test_a_settled_call_is_charged_where_it_was_admitted_and_usage_is_the_sum(backing: Backing) -> None:
    acme = Tenant(backing, BUSY)
    sandbox = acme.sandbox()
    leases = [sandbox.admit(tokens=500) for _ in range(20)]
    for lease in leases[:15]:
        assert sandbox.settle(lease, tokens=120).tenant == "acme"
    usage = sandbox.admission.usage("acme", acme.limits, acme.now_ms)
    assert usage is not None
    in_flight, (rate, month) = usage
    assert in_flight == 5
    assert month.remaining == 10**9 - 15 * 120 - 5 * 500
    assert rate.quota == 10_000
    assert sandbox.admission.holds("acme", leases[19].lease_id)
    assert not sandbox.admission.holds("acme", leases[0].lease_id)
    assert {each.name: each.quota for each in leases[0].standing} == {"roomy": 10_000, "month": 10**9}


def test_what_was_revoked_is_refused_at_every_shard_once_the_change_is_made(backing: Backing) -> None:
    acme = Tenant(backing, BUSY)
    sandboxes = [acme.sandbox(chance) for chance in range(6)]
    for sandbox in sandboxes:
        sandbox.admit()
    acme.bump()
    for sandbox in sandboxes:
        with pytest.raises(StaleEpoch):
            sandbox.try_once()
    assert all(sandbox.admit() for sandbox in sandboxes)


def test_one_meter_becomes_several_under_running_requests_and_one_again(backing: Backing) -> None:
    acme = Tenant(backing, SMALL)
    sandbox = acme.sandbox()
    early = [sandbox.admit(tokens=100) for _ in range(5)]
    acme.change(BUSY)
    assert acme.shards() == 4
    between = [sandbox.admit(tokens=100) for _ in range(75)]
    assert isinstance(sandbox.refused(), Crowded)
    for lease in early:
        sandbox.settle(lease, tokens=50)
    acme.change(SMALL)
    assert isinstance(sandbox.refused(), Crowded)
    for lease in between:
        sandbox.settle(lease, tokens=50)
    # What was used of the month stays where it was used, so the meters stay until it turns.
    assert acme.shards() == 1
    state = acme.state()
    assert state is not None
    assert state.shards[0].divided
    acme.now_ms += 1_001
    sandbox.admit(tokens=100)
    usage = sandbox.admission.usage("acme", acme.limits, acme.now_ms)
    assert usage is not None
    assert usage[1][1].remaining == 10**9 - 80 * 50 - 100

    acme.now_ms += 40 * 86_400_000
    late = sandbox.admit(tokens=100)
    state = acme.state()
    assert state is not None
    assert not state.shards[0].divided
    sandbox.settle(late, tokens=30)
    meter = backing.meters.reading("acme")
    assert meter is not None
    assert meter.windows["month.tm"][1] == 30
    acme.change(BUSY)
    assert acme.shards() == 4
    sandbox.admit()


def test_limits_that_are_lowered_below_their_use_deny_until_they_are_kept_again(backing: Backing) -> None:
    hourly = limits(Budget("hour", "tokens", 10**7, "hour"), in_flight=80)
    acme = Tenant(backing, hourly)
    sandbox = acme.sandbox()
    leases = [sandbox.admit(tokens=200_000) for _ in range(40)]
    acme.change(limits(Budget("hour", "tokens", 4_000_000, "hour"), in_flight=50))
    for lease in leases[:20]:
        sandbox.settle(lease, tokens=190_000)
    acme.now_ms += 11_000
    assert isinstance(sandbox.refused(), QuotaExhausted)
    for lease in leases[20:]:
        sandbox.settle(lease, tokens=0)
    acme.now_ms += 11_000
    # 3.8 of 4 million are used.
    sandbox.admit(tokens=200_000)
    acme.now_ms += 11_000
    assert isinstance(sandbox.refused(), QuotaExhausted)


def test_more_in_flight_than_the_limits_with_which_a_meter_is_divided_counts_to_the_last(backing: Backing) -> None:
    acme = Tenant(backing, limits(Budget("few", "requests", 30, "minute"), in_flight=100))
    assert acme.shards() == 1
    sandbox = acme.sandbox()
    leases = [sandbox.admit() for _ in range(30)]
    acme.change(limits(in_flight=24))
    assert acme.shards() == 2
    for lease in leases[:6]:
        assert isinstance(sandbox.refused(), Crowded)
        sandbox.settle(lease)
        acme.now_ms += 1_001
    assert isinstance(sandbox.refused(), Crowded)
    for lease in leases[6:11]:
        sandbox.settle(lease)
    acme.now_ms += 1_001
    for _ in range(5):
        sandbox.admit()
    acme.now_ms += 1_001
    assert isinstance(sandbox.refused(), Crowded)


def test_a_soft_budget_that_becomes_hard_goes_on_counting_over_all_shards(backing: Backing) -> None:
    def tokens(limit: int, *, hard: bool) -> Limits:
        return limits(Budget("day", "tokens", limit, "day", hard=hard), in_flight=80)

    acme = Tenant(backing, tokens(1, hard=False))
    sandbox = acme.sandbox()
    for _ in range(40):
        sandbox.admit(tokens=100_000)
    acme.change(tokens(5_000_000, hard=True))
    acme.change(limits(Budget("day", "tokens", 5_000_000, "day"), in_flight=90))
    used = 4_000_000
    for _ in range(20):
        acme.now_ms += 1_001
        try:
            sandbox.admit(tokens=100_000)
        except QuotaExhausted:
            break
        used += 100_000
    assert used == 5_000_000


def test_the_last_unit_of_a_budget_can_be_had_and_no_more(backing: Backing) -> None:
    acme = Tenant(backing, limits(Budget("day", "tokens", 1_000_000, "day"), in_flight=80))
    assert acme.shards() == 4
    sandboxes = [acme.sandbox(chance) for chance in range(3)]
    used = 0
    for turn in range(13):
        acme.now_ms += 1_001
        sandbox = sandboxes[turn % 3]
        sandbox.settle(sandbox.admit(tokens=76_923), tokens=76_923)
        used += 76_923
    acme.now_ms += 1_001
    assert used == 999_999
    assert isinstance(sandboxes[0].refused(tokens=2), QuotaExhausted)
    sandboxes[0].admit(tokens=1)
    acme.now_ms += 1_001
    assert isinstance(sandboxes[1].refused(tokens=1), QuotaExhausted)


def test_a_call_that_is_more_than_any_share_has_the_shares_moved_to_it(backing: Backing) -> None:
    tpm = Rate("tpm", "tokens", 120_000, 60_000, 240_000)
    acme = Tenant(backing, limits(tpm, in_flight=80))
    assert acme.shards() == 4
    sandbox = acme.sandbox(3)
    sandbox.admit(tokens=200_000)
    refusal = acme.sandbox(1).refused(tokens=60_000)
    assert isinstance(refusal, RateLimited)
    assert refusal.remaining is not None
    assert "120000 tokens per minute" in str(refusal)
    with pytest.raises(TooLarge):
        sandbox.admit(tokens=240_001)


def test_a_denial_tells_the_least_wait_over_all_shards(backing: Backing) -> None:
    acme = Tenant(backing, limits(Rate("slow", "requests", 1, 1_000, 64), in_flight=80))
    sandbox = acme.sandbox()
    while True:
        try:
            sandbox.settle(sandbox.admit())
        except RateLimited as refusal:
            wait_ms = refusal.retry_in_ms
            break
    assert wait_ms is not None
    assert 0 < wait_ms <= 4_000
    acme.now_ms += wait_ms
    sandbox.admit()


def test_the_dead_of_all_shards_are_finished(backing: Backing) -> None:
    acme = Tenant(backing, BUSY)
    leases = [acme.sandbox(chance).admit(tokens=100) for chance in range(12)]
    assert len({lease.meter for lease in leases}) > 1
    acme.now_ms += LEASE_MS + 1
    sandbox = acme.sandbox()
    assert sandbox.admission.reap(acme.now_ms) == 12
    for lease in leases:
        entry = backing.ledger.find("acme", lease.lease_id)
        assert entry is not None
        assert entry.outcome == "abandoned"
    usage = sandbox.admission.usage("acme", acme.limits, acme.now_ms)
    assert usage is not None
    assert usage[0] == 0
    assert usage[1][1].remaining == 10**9


def test_a_lease_is_renewed_on_its_shard(backing: Backing) -> None:
    acme = Tenant(backing, BUSY)
    sandbox = acme.sandbox(1)
    lease = sandbox.admit()
    assert lease.meter != "acme"
    acme.now_ms += LEASE_MS
    renewed = sandbox.admission.renew(lease, acme.now_ms)
    acme.now_ms += LEASE_MS
    assert sandbox.admission.reap(acme.now_ms) == 0
    sandbox.settle(renewed)


def test_what_a_process_left_half_done_the_next_request_finishes(backing: Backing) -> None:
    acme = Tenant(backing, BUSY)
    state = acme.state()
    assert state is not None
    # The book of another epoch was written, and its writer died.
    book = changed(state.book, state.shards[0], acme.limits, acme.version, acme.now_ms)
    assert backing.keeping.put("acme", msgspec.structs.replace(book, version=book.version + 1))
    sandbox = acme.sandbox(2)
    sandbox.admit()
    state = acme.state()
    assert state is not None
    assert is_settled(state.book)
    assert state.shards[0].epoch == state.book.epoch
