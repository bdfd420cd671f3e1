"""How well requests find room among the shards: many sandboxes in one simulated time, over memory."""

import heapq
import random
from typing import Any

import pytest

from chalicelib.admission.limits import Budget, Limits, Rate
from chalicelib.admission.memory import MemoryMeters
from chalicelib.admission.meter import Lease
from chalicelib.admission.shares.memory import MemoryKeeping
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.refusal import Refusal
from tests.admission.backing import Backing
from tests.admission.shares.tenant import Sandbox, Tenant

COUNTED = ("admit", "release", "put_if_absent", "reading", "look", "sync", "book", "put")
"""Each is one call of DynamoDB."""


class Counting:
    """A store that counts its calls."""

    def __init__(self, store: Any, calls: list[str]) -> None:
        self._store = store
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        if name in COUNTED:
            self._calls.append(name)
        return getattr(self._store, name)


class Load:
    """Requests at random instants, to random sandboxes, each of which lasts for a while."""

    def __init__(self, of: Limits, sandboxes: int, seed: int) -> None:
        self.calls: list[str] = []
        meters = MemoryMeters()
        keeping, ledger = MemoryKeeping(meters), MemoryLedger()
        backing = Backing(self._counting(meters), self._counting(keeping), self._counting(ledger))
        self.tenant = Tenant(backing, of)
        self.chance = random.Random(seed)
        self.sandboxes = [self.tenant.sandbox(self.chance.getrandbits(64)) for _ in range(sandboxes)]
        self.running: list[tuple[int, int, Sandbox, Lease]] = []
        self.admitted = self.false = 0

    def _counting(self, store: Any) -> Any:
        return Counting(store, self.calls)

    def run(self, *, requests: int, per_s: float, lasts_ms: int, tokens: int) -> None:
        """A denial is false if one meter would have admitted: all of these tests are about places."""
        places = self.tenant.limits.in_flight
        at_ms = float(self.tenant.now_ms)
        for _ in range(requests):
            at_ms += self.chance.expovariate(per_s / 1_000)
            self._settle_until(int(at_ms))
            self.tenant.now_ms = int(at_ms)
            sandbox = self.chance.choice(self.sandboxes)
            try:
                lease = sandbox.admit(tokens)
            except Refusal:
                self.false += len(self.running) < places
                continue
            self.admitted += 1
            ends_ms = int(at_ms + self.chance.expovariate(1 / lasts_ms))
            heapq.heappush(self.running, (ends_ms, self.tenant.count, sandbox, lease))

    def _settle_until(self, now_ms: int) -> None:
        while self.running and self.running[0][0] <= now_ms:
            ends_ms, _, sandbox, lease = heapq.heappop(self.running)
            self.tenant.now_ms = ends_ms
            sandbox.settle(lease, tokens=1)


LIMITS = Limits(
    rates=(Rate("pace", "requests", 5_000, 1_000, 10_000),),
    budgets=(Budget("month", "tokens", 10**12, "month"),),
    in_flight=256,
)


@pytest.mark.parametrize(
    ("per_s", "most_calls"), [(540, 3.1), (700, 3.15), (768, 3.3)], ids=["0.63", "0.82", "0.90 of the places"]
)
def test_hardly_a_denial_is_false_and_few_tries_are_for_nothing(per_s: int, most_calls: float) -> None:
    load = Load(LIMITS, sandboxes=16, seed=1)
    assert load.tenant.shards() == 13
    load.run(requests=600, per_s=per_s, lasts_ms=300, tokens=100)
    load.calls.clear()
    load.admitted = load.false = 0
    load.run(requests=1_500, per_s=per_s, lasts_ms=300, tokens=100)
    assert load.false <= 0.01 * 1_500
    assert len(load.calls) <= most_calls * load.admitted


def test_one_sandbox_alone_uses_all_shards() -> None:
    load = Load(LIMITS, sandboxes=1, seed=2)
    load.run(requests=500, per_s=500, lasts_ms=400, tokens=100)
    load.calls.clear()
    load.admitted = load.false = 0
    load.run(requests=1_000, per_s=500, lasts_ms=400, tokens=100)
    assert load.false == 0
    assert len(load.calls) <= 3.1 * load.admitted
