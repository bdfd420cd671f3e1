"""How long one request is held by moving shares about, where the store answers slowly. Its calls are the clock."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest

from chalicelib.admission import Lease, StaleEpoch
from chalicelib.admission.limits import Budget, Limits, Rate
from chalicelib.admission.memory import MemoryMeters
from chalicelib.admission.shares.book import Shard, is_settled
from chalicelib.admission.shares.memory import MemoryKeeping
from chalicelib.admission.shares.patience import PATIENCE_MS
from chalicelib.admission.shares.steward import AT_ONCE
from chalicelib.admission.shares.sync import Sync
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.refusal import NoCapacity, Refusal
from tests.admission.backing import Backing
from tests.admission.shares.tenant import Tenant

CALL_MS = 300
LIMITS = Limits(
    rates=(Rate("pace", "requests", 5_000, 1_000, 10_000),),
    budgets=(Budget("month", "tokens", 10**6, "month"),),
    in_flight=256,
)


class SlowKeeping(MemoryKeeping):
    """Each call takes its time, of which `spent_ms` is the sum; and may find that others were always first."""

    def __init__(self, meters: MemoryMeters) -> None:
        super().__init__(meters)
        self.call_ms = 0
        self.spent_ms = 0
        self.contended = False

    def book(self, tenant: str) -> Any:
        self.spent_ms += self.call_ms
        return super().book(tenant)

    def put(self, tenant: str, book: Any) -> bool:
        self.spent_ms += self.call_ms
        return not self.contended and super().put(tenant, book)

    def look(self, tenant: str, numbers: Any) -> dict[int, Shard]:
        self.spent_ms += self.call_ms
        return super().look(tenant, numbers)

    def sync(self, sync: Sync) -> bool:
        self.spent_ms += self.call_ms
        return not self.contended and super().sync(sync)


class Slow:
    """A tenant of many shards, whose store has become slow."""

    def __init__(self) -> None:
        meters = MemoryMeters()
        self.keeping = SlowKeeping(meters)
        self.tenant = Tenant(Backing(meters, self.keeping, MemoryLedger()), LIMITS)
        self.sandbox = self.tenant.sandbox(monotonic=lambda: self.keeping.spent_ms)
        self.sandbox.admit()
        self.keeping.call_ms = CALL_MS

    def held_ms(self, tokens: int) -> int:
        """How long a request is held that many tokens are asked for by, whatever becomes of it."""
        before_ms = self.keeping.spent_ms
        with suppress(Refusal, StaleEpoch):
            self.sandbox.try_once(tokens)
        return self.keeping.spent_ms - before_ms


MORE_THAN_ANY_SHARD_HAS = 500_000
MOST_MS = PATIENCE_MS + AT_ONCE * CALL_MS  # what was asked side by side when patience ended is heard


@pytest.mark.parametrize("contended", [False, True])
def test_moving_room_to_a_call_holds_it_no_longer_than_its_patience(contended: bool) -> None:
    slow = Slow()
    slow.keeping.contended = contended
    assert 0 < slow.held_ms(MORE_THAN_ANY_SHARD_HAS) <= MOST_MS


def test_who_loses_patience_is_told_to_come_back_and_finds_done_what_was_done() -> None:
    slow = Slow()
    with pytest.raises(NoCapacity) as refused:
        slow.sandbox.try_once(MORE_THAN_ANY_SHARD_HAS)
    assert refused.value.retry_in_ms
    assert admitted_within(slow, requests=8)


def admitted_within(slow: Slow, requests: int) -> Lease | None:
    for _ in range(requests):
        slow.tenant.now_ms += 2_000
        with suppress(Refusal):
            return slow.sandbox.try_once(MORE_THAN_ANY_SHARD_HAS)
    return None


def test_shares_that_cannot_be_put_where_they_should_be_keep_nobody_out() -> None:
    slow = Slow()
    slow.keeping.call_ms = 0
    leases = [slow.sandbox.admit() for _ in range(20)]
    slow.tenant.change(msgspec.structs.replace(LIMITS, in_flight=64))
    state = slow.tenant.state()
    assert state is not None and not is_settled(state.book)
    for lease in leases:
        slow.sandbox.settle(lease)
    slow.keeping.call_ms, slow.keeping.contended = CALL_MS, True
    slow.sandbox = slow.tenant.sandbox(monotonic=lambda: slow.keeping.spent_ms)
    began_ms = slow.keeping.spent_ms
    assert slow.sandbox.try_once()
    held_ms = slow.keeping.spent_ms - began_ms
    assert PATIENCE_MS <= held_ms <= MOST_MS
    assert slow.sandbox.try_once()
    assert slow.keeping.spent_ms == began_ms + held_ms
