"""What a tenant with several meters costs: calls that leave, and bytes that are billed."""

import msgspec
import pytest

from chalicelib.admission import Admission, Lease
from chalicelib.admission.divisible import Divisible
from chalicelib.admission.limits import DEFAULT_LIMITS, Budget, Limits, Rate, Units
from chalicelib.admission.shares.arithmetic import leases_of, shards_of
from chalicelib.admission.shares.book import meter_of
from chalicelib.admission.shares.store import DynamoKeeping
from chalicelib.admission.store import DynamoMeters
from chalicelib.dynamodb import Tables
from chalicelib.ledger import lease_id_of
from chalicelib.ledger.store import DynamoLedger
from chalicelib.refusal import Crowded
from tests.admission.arrange import REGION, T0, entry, limits
from tests.admission.measure import NINE_WINDOWS, THREE_BUDGETS, bytes_of
from tests.stores import Served, StoreName, fresh_tables, sent

EIGHTY = limits(in_flight=80)
LEASE_MS = 90_000


class Divided:
    """Four shards or more, and a sandbox whose homes are shards 1 and 2."""

    def __init__(self, tables: Tables, of: Limits = EIGHTY) -> None:
        self.tables = tables
        self.limits = of
        self.meters = DynamoMeters(tables, REGION)
        self.count = 0
        self.meters.open("acme", T0)
        self.restart()
        self.divisible.divide("acme")
        self._sent = sent(tables)

    def restart(self) -> None:
        """Lose all caches."""
        self.divisible = Divisible(
            self.meters, lambda: DynamoKeeping(self.tables, REGION), lambda _: (self.limits, 1), lambda: T0, lambda: 1
        )
        ledger = DynamoLedger(self.tables)
        self.admission = Admission(self.meters, ledger, lease_ms=LEASE_MS, region=REGION, spread=self.divisible.spread)

    def admit(self, epoch: int) -> Lease:
        self.count += 1
        lease_id = lease_id_of(T0 + self.count, 2**49 + self.count)
        units = Units(requests=1, tokens=2_000, micro_usd=700)
        return self.admission.admit(
            tenant="acme", epoch=epoch, limits=self.limits, units=units, lease_id=lease_id, now_ms=T0 + self.count
        )

    def calls(self) -> list[str]:
        """What was sent since this was last asked."""
        calls = list(self._sent)
        self._sent.clear()
        return calls


@pytest.fixture
def acme(stores: Served, store: StoreName) -> Divided:
    return Divided(fresh_tables(stores.url(store)))


def test_a_warm_request_costs_what_it_costs_at_one_meter(acme: Divided) -> None:
    epoch = acme.meters.read("acme")
    acme.calls()
    acme.admit(epoch)
    assert acme.calls() == ["GetItem", "BatchGetItem", "UpdateItem"]
    lease = acme.admit(epoch)
    assert acme.calls() == ["UpdateItem"]
    acme.admission.renew(lease, T0 + 1)
    assert acme.calls() == ["UpdateItem"]
    acme.admission.settle(lease, entry(lease, tokens=5))
    assert acme.calls() == ["PutItem", "UpdateItem"]


def test_whoever_finds_no_room_looks_once_and_then_not_again_at_once(acme: Divided) -> None:
    epoch = acme.meters.read("acme")
    leases = [acme.admit(epoch) for _ in range(80)]
    acme.calls()
    with pytest.raises(Crowded):
        acme.admit(epoch)
    assert len(acme.calls()) <= 3
    with pytest.raises(Crowded):
        acme.admit(epoch)
    assert acme.calls() == []
    acme.admission.settle(leases[7], entry(leases[7], tokens=5))
    acme.calls()
    acme.admit(epoch)
    assert acme.calls() == ["UpdateItem"]


def test_usage_reads_every_meter_in_one_call(acme: Divided) -> None:
    acme.calls()
    acme.admission.usage("acme", acme.limits, T0)
    assert acme.calls() == ["GetItem", "GetItem", "BatchGetItem"]
    acme.admission.holds("acme", "0")
    assert acme.calls() == ["GetItem", "GetItem", "BatchGetItem"]


def test_another_epoch_is_one_write_for_each_meter_and_one_for_the_book(acme: Divided) -> None:
    acme.calls()
    acme.divisible.bump("acme")
    calls = acme.calls()
    assert calls[:4] == ["UpdateItem", "GetItem", "BatchGetItem", "UpdateItem"]
    assert calls[4:-1] == ["UpdateItem"] * 4
    assert calls[-1] == "GetItem"


SMALLEST = limits(Rate("pace", "requests", 5_000, 1_000, 10_000), Budget("month", "tokens", 10**12, "month"))
LONG_NAMES = Limits(
    rates=tuple(Rate(f"a_rate_of_the_{n}th", "tokens", 10**8, 86_400_000, 10**9) for n in range(4)),
    budgets=tuple(Budget(f"budget_of_the_{n}", "micro_usd", 10**12, "month") for n in range(3)),
    in_flight=0,
)


@pytest.mark.parametrize(
    "of",
    [SMALLEST, DEFAULT_LIMITS, THREE_BUDGETS, NINE_WINDOWS, LONG_NAMES],
    ids=["smallest", "default", "three", "nine", "long names"],
)
def test_a_shard_that_is_full_is_one_write_unit(stores: Served, of: Limits) -> None:
    in_flight = 3 * leases_of(of)
    acme = Divided(fresh_tables(stores.url("ministack")), msgspec.structs.replace(of, in_flight=in_flight))
    epoch = acme.meters.read("acme")
    for _ in range(in_flight):
        acme.admit(epoch)
    acme.divisible.bump("acme")
    assert shards_of(acme.limits) == 3
    assert max(bytes_of(acme.tables, meter_of("acme", number)) for number in range(3)) <= 1_024
