"""One gateway process under load, that may be killed at any instant.

    python -m tests.admission.worker URL PREFIX METERS SEED THREADS REQUESTS LAST

METERS is `one` or `several`; with several, the process also moves shares, and the epoch, for as long as it runs. Each
thread admits and settles REQUESTS requests of the tenant `acme`, whose limits stand in `LIMITS`. It reports on standard
output, a line each: `admitted <lease>`, `settled <lease>`. With LAST = `hold` each thread then admits one request more,
reports `holding <lease>`, and waits to be killed. A broken promise ends the process with status 1.
"""

import itertools
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Literal

from chalicelib.admission import Admission, Meter, StaleEpoch
from chalicelib.admission.decision import Same, Write
from chalicelib.admission.divisible import Divisible
from chalicelib.admission.limits import Budget, Limits, Rate, Units
from chalicelib.admission.meter import Lease
from chalicelib.admission.shares.steward import Steward, Wanted
from chalicelib.admission.shares.store import DynamoKeeping
from chalicelib.admission.store import DynamoMeters
from chalicelib.dynamodb import Tables
from chalicelib.ledger import Entry, lease_id_of
from chalicelib.ledger.store import DynamoLedger
from chalicelib.refusal import Crowded, QuotaExhausted, RateLimited
from tests.patience import PATIENCE_S
from tests.stores import REGION, reach_tables, with_credentials

TENANT = "acme"
LEASE_MS = 4_000
MetersName = Literal["one", "several"]
RESERVED_TOKENS = {"one": 1_000, "several": 30_000}
# A day holds 12 or 13 reservations at first, and fewer as charges add up.
LIMITS = {
    "one": Limits(
        rates=(Rate("pace", "requests", 60, 1_000, 60),),
        budgets=(Budget("day", "tokens", 17_000, "day"), Budget("soft", "requests", 1, "month", hard=False)),
        in_flight=12,
    ),
    "several": Limits(
        rates=(Rate("pace", "requests", 60, 1_000, 120),),
        budgets=(Budget("day", "tokens", 400_000, "day"), Budget("soft", "requests", 1, "month", hard=False)),
        in_flight=26,
    ),
}


class Watched(DynamoMeters):
    """Looks at the meter right after every admission, which is where a limit would be seen broken."""

    def admit(self, write: Write, unheard: Callable[[], None]) -> Meter:
        after = super().admit(write, unheard)
        assert len(after.leases) <= write.cap, "over the cap"
        for step in write.steps:
            if isinstance(step, Same) and step.room is not None:
                assert after.windows[step.key][1] <= step.room + step.units, "over the budget"
        return after


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def say(what: str, lease_id: str) -> None:
    # One write, so that a process killed in the middle of it leaves no half line.
    os.write(1, f"{what} {lease_id}\n".encode())


class Worker:
    def __init__(self, url: str, prefix: str, meters: MetersName, seed: int) -> None:
        tables = reach_tables(url, prefix)
        self.meters = Watched(tables, REGION)
        self.keeping = DynamoKeeping(tables, REGION)
        self.limits, self.tokens = LIMITS[meters], RESERVED_TOKENS[meters]
        self.divisible = divisible(tables, seed)
        self.admission = Admission(
            self.meters, DynamoLedger(tables), lease_ms=LEASE_MS, region=REGION, spread=self.divisible.spread
        )
        self.epoch = self.meters.read(TENANT)
        self.seed = seed
        self.until = time.monotonic() + PATIENCE_S

    def move(self, ended: threading.Event) -> None:
        """The epoch, and shares to one shard or to all, until the threads have ended or the process is killed."""
        for turn in itertools.count(self.seed):
            if ended.wait(0.1):
                return
            if turn % 3:
                steward = Steward(self.keeping, self.meters, limits_of, now_ms)
                steward.level(TENANT, Wanted(turn % 3, Units(requests=1, tokens=150_000)) if turn % 2 else None)
            else:
                self.divisible.bump(TENANT)

    def work(self, thread: int, requests: int, last: Literal["settle", "hold"]) -> None:
        chance = random.Random(self.seed * 1_000 + thread)
        for _ in range(requests):
            lease = self.admit(chance)
            say("admitted", lease.lease_id)
            self.settle(lease, chance)
            say("settled", lease.lease_id)
        if last == "hold":
            lease = self.admit(chance)
            say("holding", lease.lease_id)
            threading.Event().wait()

    def admit(self, chance: random.Random) -> Lease:
        while time.monotonic() < self.until:
            at_ms = now_ms()
            try:
                return self.admission.admit(
                    tenant=TENANT,
                    epoch=self.epoch,
                    limits=self.limits,
                    units=Units(requests=1, tokens=self.tokens),
                    lease_id=lease_id_of(at_ms, chance.getrandbits(50)),
                    now_ms=at_ms,
                )
            except StaleEpoch:
                self.epoch = self.meters.read(TENANT)
            except (RateLimited, Crowded, QuotaExhausted):
                # What a caller does; nothing waits for these threads but each other.
                time.sleep(chance.uniform(0.01, 0.06))
        raise AssertionError("nothing was admitted for a long time")

    def settle(self, lease: Lease, chance: random.Random) -> None:
        used = Units(requests=1, tokens=chance.randint(1, 40))
        entry = Entry(
            tenant=TENANT,
            lease_id=lease.lease_id,
            request_id=lease.lease_id,
            outcome="completed",
            reason="",
            used=used,
            charged=used,
            admitted_ms=lease.admitted_ms,
            settled_ms=now_ms(),
            region=REGION,
        )
        self.admission.settle(lease, entry)
        if chance.random() < 0.2:
            self.admission.settle(lease, entry)


def divisible(tables: Tables, seed: int) -> Divisible:
    """The tenant's meter, which is divided where its limits ask for it.

    However busy the machine is, no request's patience ends: what is counted here is what was admitted.
    """
    meters, keeping = DynamoMeters(tables, REGION), DynamoKeeping(tables, REGION)
    return Divisible(meters, lambda: keeping, limits_of, now_ms, lambda: seed, monotonic=lambda: 0)


def limits_of(_: str) -> tuple[Limits, int]:
    return LIMITS["several"], 1


def main(
    url: str, prefix: str, meters: MetersName, seed: int, threads: int, requests: int, last: Literal["settle", "hold"]
) -> int:
    with_credentials()
    worker = Worker(url, prefix, meters, seed)
    broken: list[BaseException] = []

    def run(thread: int) -> None:
        try:
            worker.work(thread, requests, last)
        except BaseException as error:
            broken.append(error)
            raise

    running = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    ended = threading.Event()
    mover = threading.Thread(target=worker.move, args=(ended,))
    for thread in running:
        thread.start()
    if meters == "several":
        mover.start()
    for thread in running:
        thread.join()
    ended.set()
    if meters == "several":
        mover.join()
    return 1 if broken else 0


if __name__ == "__main__":
    url, prefix, which, seed, threads, requests, last = sys.argv[1:]
    sys.exit(
        main(
            url,
            prefix,
            "one" if which == "one" else "several",
            int(seed),
            int(threads),
            int(requests),
            "hold" if last == "hold" else "settle",
        )
    )
