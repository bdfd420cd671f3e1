"""Numbers for docs/admission.md: `python -m tests.admission.measure`.

Wall times are those of an emulator on a busy machine and say nothing about DynamoDB; tries, bytes and CPU do.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from chalicelib.admission import DEFAULT_LIMITS, Admission, Meter, Meters
from chalicelib.admission.decision import Write
from chalicelib.admission.limits import Budget, Limits, Rate, Units
from chalicelib.admission.memory import MemoryMeters
from chalicelib.admission.store import DynamoMeters
from chalicelib.dynamodb import Item, Tables
from chalicelib.ledger import Ledger, lease_id_of
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.ledger.store import DynamoLedger
from chalicelib.refusal import NoCapacity, Refusal
from tests.admission.arrange import REGION, T0, entry
from tests.admission.backing import LEASE_MS
from tests.stores import STORES, fresh_tables, prefix_of, reach_tables, served

THREE_BUDGETS = Limits(
    DEFAULT_LIMITS.rates,
    (
        *DEFAULT_LIMITS.budgets,
        Budget("day", "tokens", 10**7, "day"),
        Budget("spend", "micro_usd", 10**7, "month", source="tenant"),
    ),
    DEFAULT_LIMITS.in_flight,
)
# More than anybody may set today: as many as a tier with bundles, caps and a prepaid balance would have.
NINE_WINDOWS = Limits(
    DEFAULT_LIMITS.rates,
    (
        *DEFAULT_LIMITS.budgets,
        Budget("day", "tokens", 10**9, "day"),
        Budget("hour", "tokens", 10**9, "hour"),
        Budget("spend", "micro_usd", 10**9, "month"),
        Budget("dspend", "micro_usd", 10**9, "day"),
        Budget("hspend", "micro_usd", 10**9, "hour"),
        Budget("gpu", "gpu_ms", 10**9, "month"),
        Budget("reqs", "requests", 10**9, "day"),
        Budget("mreqs", "requests", 10**9, "month"),
    ),
    DEFAULT_LIMITS.in_flight,
)
CALLERS = 32
SANDBOXES = 4


class Counting:
    """Meters that count the writes that are tried, and that may be far away."""

    def __init__(self, meters: Meters, distance_ms: int = 0) -> None:
        self.meters = meters
        self.tried: Counter[int] = Counter()  # by thread
        self._half_s = distance_ms / 2_000
        self.release, self.renew, self.expired, self.reading = (
            meters.release,
            meters.renew,
            meters.expired,
            meters.reading,
        )

    def admit(self, write: Write, unheard: Callable[[], None]) -> Meter:
        self.tried[threading.get_ident()] += 1
        time.sleep(self._half_s)
        try:
            return self.meters.admit(write, unheard)
        finally:
            time.sleep(self._half_s)


class Tries(msgspec.Struct, frozen=True):
    """What became of concurrent calls, and how many writes those took that were admitted."""

    admitted: int
    denied: int
    gave_up: int
    written: int


# Rates at rest again and again: each spell of 250 ms begins with a change of branch.
WELL_BELOW = Limits(
    rates=(Rate("req", "requests", 10_000, 1_000, 10**6), Rate("tok", "tokens", 10**8, 1_000, 10**10)),
    budgets=(Budget("day", "tokens", 10**12, "day"),),
    in_flight=1_000,
)
# Arrivals are about as fast as this drains, so its arrival time keeps meeting the clock.
AT_THE_EDGE = Limits(rates=(Rate("req", "requests", 200, 1_000, 200),), budgets=(), in_flight=1_000)


def tries(meters: Sequence[Counting], ledger: Ledger, of: Limits, requests_each: int) -> Tries:
    """32 callers, each one request after the other by the real clock; a sandbox for each of the meters' clients."""
    sandboxes = [Admission(each, ledger, lease_ms=LEASE_MS, region=REGION) for each in meters]
    meter = meters[0].reading("acme")
    assert meter is not None
    epoch = meter.epoch

    def caller(number: int) -> tuple[list[str], int]:
        client, sandbox = meters[number % len(meters)], sandboxes[number % len(meters)]
        ends: list[str] = []
        written = 0
        for turn in range(requests_each):
            at_ms = time.time_ns() // 1_000_000
            lease_id = lease_id_of(at_ms, number * requests_each + turn)
            units = Units(requests=1, tokens=10)
            before = client.tried[threading.get_ident()]
            try:
                lease = sandbox.admit(
                    tenant="acme", epoch=epoch, limits=of, units=units, lease_id=lease_id, now_ms=at_ms
                )
            except NoCapacity:
                ends.append("gave up")
            except Refusal:
                ends.append("denied")
            else:
                written += client.tried[threading.get_ident()] - before
                sandbox.settle(lease, entry(lease, tokens=5))
                ends.append("admitted")
        return ends, written

    with ThreadPoolExecutor(CALLERS) as pool:
        found = list(pool.map(caller, range(CALLERS)))
    every = [end for ends, _ in found for end in ends]
    written = sum(each for _, each in found)
    return Tries(every.count("admitted"), every.count("denied"), every.count("gave up"), written)


def served_meters(url: str) -> tuple[list[Counting], Ledger]:
    """Four clients of one served store, as four sandboxes have."""
    tables = fresh_tables(url)
    DynamoMeters(tables, REGION).open("acme", T0)
    clients = [DynamoMeters(reach_tables(url, prefix_of(tables)), REGION) for _ in range(SANDBOXES)]
    return [Counting(client) for client in clients], DynamoLedger(tables)


def distant_meters(distance_ms: int) -> tuple[list[Counting], Ledger]:
    """Four sandboxes whose store, in memory, is so far away: there and back."""
    meters = MemoryMeters()
    meters.open("acme", T0)
    return [Counting(meters, distance_ms) for _ in range(SANDBOXES)], MemoryLedger()


def item_bytes(tables: Tables, of: Limits, leases: int) -> int:
    """The size that DynamoDB would bill, with so many requests in flight."""
    meters = DynamoMeters(tables, REGION)
    tenant = f"tenant-{leases}-{len(of.budgets)}"
    epoch = meters.open(tenant, T0)
    admission = Admission(meters, MemoryLedger(), lease_ms=LEASE_MS, region=REGION)
    of = msgspec.structs.replace(of, in_flight=max(leases, 1))
    for i in range(leases):
        units = Units(requests=1, tokens=2_000, micro_usd=700)
        lease_id = lease_id_of(T0 + i, 2**49 + i)
        admission.admit(tenant=tenant, epoch=epoch, limits=of, units=units, lease_id=lease_id, now_ms=T0 + i)
    return bytes_of(tables, tenant)


def bytes_of(tables: Tables, meter: str) -> int:
    """The size that DynamoDB would bill of this meter."""
    key = {"pk": {"S": f"{meter}#{REGION}"}}
    item: Item = tables.call("GetItem", TableName=tables.meters, Key=key)["Item"]
    return sum(len(name) + _bytes(value) for name, value in item.items())


def _bytes(value: dict[str, Any]) -> int:
    """By DynamoDB's published rules: UTF-8; half a byte a digit and one; three for a map or list and one a member."""
    ((kind, content),) = value.items()
    if kind == "S":
        return len(str(content).encode())
    if kind == "N":
        return -(-len(str(content).strip("0")) // 2) + 1
    if kind == "L":
        return 3 + sum(1 + _bytes(each) for each in content)
    return 3 + sum(1 + len(name) + _bytes(each) for name, each in content.items())


def cpu_us(tables: Tables, requests: int) -> tuple[int, int]:
    """CPU of this process for one admit + settle: through botocore, and of our own rules alone (in memory)."""
    dynamo = DynamoMeters(tables, REGION)
    memory = MemoryMeters()
    spent = []
    for meters, ledger in ((dynamo, DynamoLedger(tables)), (memory, MemoryLedger())):
        admission = Admission(meters, ledger, lease_ms=LEASE_MS, region=REGION)
        epoch = meters.open("cpu", T0)
        began = 0
        for i in range(-20, requests):
            if i == 0:
                began = time.process_time_ns()
            at_ms = T0 + 40 * 86_400_000 + i * 1_000
            units = Units(requests=1, tokens=200)
            lease_id = lease_id_of(at_ms, 0)
            lease = admission.admit(
                tenant="cpu", epoch=epoch, limits=DEFAULT_LIMITS, units=units, lease_id=lease_id, now_ms=at_ms
            )
            admission.settle(lease, entry(lease, tokens=5))
        spent.append((time.process_time_ns() - began) // requests // 1_000)
    return spent[0], spent[1]


def _print_tries(meters: Sequence[Counting], ledger: Ledger) -> None:
    for name, of in (("well below", WELL_BELOW), ("at the edge", AT_THE_EDGE)):
        found = tries(meters, ledger, of, 20)
        print(
            f"  {CALLERS} callers, {name}: {found.admitted} admitted, {found.denied} denied, {found.gave_up} gave up; "
            f"{found.written / found.admitted:.2f} writes for each admitted"
        )


def main() -> None:
    for distance_ms in (4, 16, 64):
        print(f"in memory, {distance_ms} ms there and back")
        _print_tries(*distant_meters(distance_ms))
    for store in STORES:
        with served(store) as url:
            print(f"\n{store}")
            _print_tries(*served_meters(url))
            tables = fresh_tables(url)
            for title, of in (
                ("default limits", DEFAULT_LIMITS),
                ("two budgets more", THREE_BUDGETS),
                ("eight budgets more", NINE_WINDOWS),
            ):
                sizes = ", ".join(f"{count} leases {item_bytes(tables, of, count)}" for count in (0, 1, 8, 12))
                print(f"  item bytes, {title}: {sizes}")
            through, alone = cpu_us(tables, 300)
            print(f"  CPU of admit + settle: {through} us, of which our rules {alone} us")


if __name__ == "__main__":
    main()
