"""How many DynamoDB requests leave, counted where botocore sends them."""

import pytest

from chalicelib.admission import DEFAULT_LIMITS, Admission, StaleEpoch
from chalicelib.admission.limits import Limits, Rate, Units
from chalicelib.admission.meter import Lease
from chalicelib.admission.store import DynamoMeters
from chalicelib.dynamodb import Tables
from chalicelib.ledger.store import DynamoLedger
from chalicelib.refusal import Crowded, RateLimited, TooLarge
from tests.admission.arrange import MONTH, REGION, T0, entry, limits
from tests.stores import Served, StoreName, fresh_tables, sent

LEASE_MS = 90_000
SLOW = limits(Rate("slow", "requests", 1, 1_000, 2), MONTH)  # one at once, then one a second


class Sandbox:
    """One process with its own caches, and what it sends."""

    def __init__(self, tables: Tables) -> None:
        self.meters = DynamoMeters(tables, REGION)
        self.ledger = DynamoLedger(tables)
        self.restart()
        self.epoch = self.meters.open("acme", T0)
        self._sent = sent(tables)
        self._admitted = 0

    def admit(self, of: Limits = DEFAULT_LIMITS, at_ms: int = T0, tokens: int = 10) -> Lease:
        self._admitted += 1
        return self.admission.admit(
            tenant="acme",
            epoch=self.epoch,
            limits=of,
            units=Units(requests=1, tokens=tokens),
            lease_id=f"0{self._admitted}",
            now_ms=at_ms,
        )

    def restart(self) -> None:
        """Lose all caches."""
        self.admission = Admission(self.meters, self.ledger, lease_ms=LEASE_MS, region=REGION)

    def calls(self) -> list[str]:
        """What was sent since this was last asked."""
        calls = list(self._sent)
        self._sent.clear()
        return calls


@pytest.fixture
def sandbox(stores: Served, store: StoreName) -> Sandbox:
    return Sandbox(fresh_tables(stores.url(store)))


def test_a_warm_request_is_two_writes_of_the_meter_and_one_of_the_ledger(sandbox: Sandbox) -> None:
    sandbox.admission.settle(lease := sandbox.admit(), entry(lease, tokens=5))
    sandbox.calls()
    lease = sandbox.admit(at_ms=T0 + 400)
    assert sandbox.calls() == ["UpdateItem"]
    sandbox.admission.settle(lease, entry(lease, tokens=5))
    assert sandbox.calls() == ["PutItem", "UpdateItem"]


def test_a_tenants_first_request_ever_costs_no_more(sandbox: Sandbox) -> None:
    sandbox.admit()
    assert sandbox.calls() == ["UpdateItem"]


def test_a_request_after_a_pause_costs_no_more(sandbox: Sandbox) -> None:
    sandbox.admit()
    sandbox.calls()
    sandbox.admit(at_ms=T0 + 40 * 86_400_000)
    # Idle rates and a new month, predicted from what was seen before.
    assert sandbox.calls() == ["UpdateItem"]


def test_a_cold_sandbox_mispredicts_once(sandbox: Sandbox) -> None:
    sandbox.admit()
    sandbox.calls()
    sandbox.restart()
    sandbox.admit(at_ms=T0 + 1)
    assert sandbox.calls() == ["UpdateItem", "UpdateItem"]


def test_a_denial_is_one_call_and_a_remembered_one_is_none(sandbox: Sandbox) -> None:
    sandbox.admit(SLOW)
    sandbox.calls()
    with pytest.raises(RateLimited) as told:
        sandbox.admit(SLOW)
    assert sandbox.calls() == ["UpdateItem"]
    for later_ms in (0, 1, 249):
        with pytest.raises(RateLimited) as remembered:
            sandbox.admit(SLOW, at_ms=T0 + later_ms)
        assert sandbox.calls() == []
        assert told.value.retry_in_ms is not None
        assert remembered.value.retry_in_ms == told.value.retry_in_ms - later_ms
    sandbox.admit(SLOW, at_ms=T0 + 250)
    assert sandbox.calls() == ["UpdateItem"]


def test_only_rates_are_remembered_because_only_their_end_is_certain(sandbox: Sandbox) -> None:
    crowd = limits(in_flight=1)
    sandbox.admit(crowd)
    sandbox.calls()
    for _ in range(2):
        with pytest.raises(Crowded):
            sandbox.admit(crowd)
    assert sandbox.calls() == ["UpdateItem"] * 2


def test_a_remembered_denial_does_not_cover_a_smaller_call(sandbox: Sandbox) -> None:
    tokens = limits(Rate("tpm", "tokens", 100, 1_000, 1_000))
    sandbox.admit(tokens, tokens=900)
    with pytest.raises(RateLimited):
        sandbox.admit(tokens, tokens=200)
    sandbox.calls()
    with pytest.raises(RateLimited):
        sandbox.admit(tokens, tokens=150)
    assert sandbox.calls() == []
    sandbox.admit(tokens, tokens=50)
    assert sandbox.calls() == ["UpdateItem"]


def test_memory_ends_after_a_second_with_the_epoch_or_when_told(sandbox: Sandbox) -> None:
    hourly = limits(Rate("hourly", "requests", 1, 3_600_000, 2))
    sandbox.admit(hourly)
    sandbox.admit(hourly, at_ms=T0 + 250)

    def denied(at_ms: int) -> list[str]:
        with pytest.raises(RateLimited):
            sandbox.admit(hourly, at_ms=at_ms)
        return sandbox.calls()

    start = T0 + 300
    sandbox.calls()
    assert denied(start) == ["UpdateItem"]
    assert denied(start + 999) == []
    assert denied(start + 1_000) == ["UpdateItem"]
    sandbox.admission.forget("acme")
    assert denied(start + 1_001) == ["UpdateItem"]
    sandbox.epoch = sandbox.meters.bump("acme")
    sandbox.calls()
    assert denied(start + 1_002) == ["UpdateItem"]


def test_an_old_copy_and_an_impossible_call_cost_one_call(sandbox: Sandbox) -> None:
    with pytest.raises(TooLarge):
        sandbox.admit(tokens=10**9)
    assert sandbox.calls() == ["GetItem"]
    sandbox.epoch -= 1
    with pytest.raises(StaleEpoch):
        sandbox.admit()
    assert sandbox.calls() == ["UpdateItem"]


def test_renewing_is_one_call_and_reaping_two_for_each_dead_lease(sandbox: Sandbox) -> None:
    lease = sandbox.admit()
    sandbox.calls()
    sandbox.admission.renew(lease, T0 + 1)
    assert sandbox.calls() == ["UpdateItem"]
    assert sandbox.admission.reap(T0 + LEASE_MS) == 0
    assert sandbox.calls() == ["Scan"]
    assert sandbox.admission.reap(T0 + LEASE_MS + 2) == 1
    assert sandbox.calls() == ["Scan", "PutItem", "UpdateItem"]


def test_a_settlement_after_the_window_turned_takes_one_look_more(sandbox: Sandbox) -> None:
    early = sandbox.admit()
    sandbox.admit(at_ms=T0 + 20 * 86_400_000)
    sandbox.calls()
    sandbox.admission.settle(early, entry(early, tokens=5))
    assert sandbox.calls() == ["PutItem", "UpdateItem", "UpdateItem"]


def test_a_crowd_of_the_dead_is_finished_a_few_at_a_time(sandbox: Sandbox) -> None:
    crowd = limits(in_flight=20)
    for _ in range(20):
        sandbox.admit(crowd)
    sandbox.calls()
    sandbox.admit(crowd, at_ms=T0 + LEASE_MS + 1)
    assert sandbox.calls() == ["UpdateItem", *["PutItem", "UpdateItem"] * 8, "UpdateItem"]
