"""One gateway process under load, that may be killed at any instant.

    python -m tests.admission.worker URL PREFIX SEED THREADS REQUESTS LAST

Each thread admits and settles REQUESTS requests of the tenant `acme`, whose limits stand in `LIMITS`. It reports on
standard output, a line each: `admitted <lease>`, `settled <lease>`. With LAST = `hold` each thread then admits one
request more, reports `holding <lease>`, and waits to be killed. A broken promise ends the process with status 1.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Literal

from chalicelib.admission import Admission, Meter, Meters
from chalicelib.admission.decision import Write
from chalicelib.admission.limits import Budget, Limits, Rate, Units
from chalicelib.admission.meter import Lease
from chalicelib.admission.store import DynamoMeters
from chalicelib.ledger import Entry, lease_id_of
from chalicelib.ledger.store import DynamoLedger
from chalicelib.refusal import Crowded, QuotaExhausted, RateLimited
from tests.patience import PATIENCE_S
from tests.stores import REGION, reach_tables, with_credentials

TENANT = "acme"
LEASE_MS = 4_000
RESERVED_TOKENS = 1_000
LIMITS = Limits(
    rates=(Rate("pace", "requests", 60, 1_000, 60),),
    # Holds 12 reservations at first, and fewer as charges add up.
    budgets=(Budget("day", "tokens", 17_000, "day"), Budget("soft", "requests", 1, "month", hard=False)),
    in_flight=12,
)


class Watched(DynamoMeters):
    """Looks at the meter right after every admission, which is where a limit would be seen broken."""

    def admit(self, write: Write, unheard: Callable[[], None]) -> Meter:
        after = super().admit(write, unheard)
        assert len(after.leases) <= LIMITS.in_flight, "over the cap"
        assert after.windows["day.td"][1] <= LIMITS.budgets[0].limit, "over the budget"
        return after


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def say(what: str, lease_id: str) -> None:
    # One write, so that a process killed in the middle of it leaves no half line.
    os.write(1, f"{what} {lease_id}\n".encode())


class Worker:
    def __init__(self, url: str, prefix: str, seed: int) -> None:
        tables = reach_tables(url, prefix)
        meters: Meters = Watched(tables, REGION)
        self.admission = Admission(meters, DynamoLedger(tables), lease_ms=LEASE_MS, region=REGION)
        self.epoch = DynamoMeters(tables, REGION).read(TENANT)
        self.seed = seed
        self.until = time.monotonic() + PATIENCE_S

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
                    limits=LIMITS,
                    units=Units(requests=1, tokens=RESERVED_TOKENS),
                    lease_id=lease_id_of(at_ms, chance.getrandbits(50)),
                    now_ms=at_ms,
                )
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


def main(url: str, prefix: str, seed: int, threads: int, requests: int, last: Literal["settle", "hold"]) -> int:
    with_credentials()
    worker = Worker(url, prefix, seed)
    broken: list[BaseException] = []

    def run(thread: int) -> None:
        try:
            worker.work(thread, requests, last)
        except BaseException as error:
            broken.append(error)
            raise

    running = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return 1 if broken else 0


if __name__ == "__main__":
    url, prefix, seed, threads, requests, last = sys.argv[1:]
    sys.exit(main(url, prefix, int(seed), int(threads), int(requests), "hold" if last == "hold" else "settle"))
