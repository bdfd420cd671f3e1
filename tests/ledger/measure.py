"""Throughput with chains and without, for docs/audit.md: `python -m tests.ledger.measure`.

One tenant, many threads, one process that settles as a gateway does; the store is a process of its own. Both ways take
turns, so that what else the machine does falls on both. Wall times are those of an emulator and say nothing about
DynamoDB; the ratio does, and so does the CPU of a link.
"""

import argparse
import statistics
import threading
import time
from typing import Protocol

import msgspec

from chalicelib.dynamodb import Tables
from chalicelib.ledger import Entry
from chalicelib.ledger.chain import START, End
from chalicelib.ledger.store import DAY_S, RETENTION_DAYS, DynamoLedger
from tests.ledger.arrange import DAY, T0, assert_unbroken, entry, kept
from tests.stores import STORES, fresh_tables, served

THREADS = 32
SETTLEMENTS = 20  # of each thread in each turn
ROUNDS = 15
FAR_MS = 100  # each way together: far enough for the emulator to have time to spare


class Putting(Protocol):
    def put_if_absent(self, entry: Entry) -> Entry | None: ...


class OneChain:
    """What was not built: a tenant's settlements take turns."""

    def __init__(self, ledger: DynamoLedger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()

    def put_if_absent(self, entry: Entry) -> Entry | None:
        with self._lock:
            return self._ledger.put_if_absent(entry)


class Unchained:
    """A ledger's entries as they were written before there were chains."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def put_if_absent(self, entry: Entry) -> None:
        self._tables.call(
            "PutItem",
            TableName=self._tables.ledger,
            Item={
                "pk": {"S": entry.tenant},
                "sk": {"S": entry.lease_id},
                "doc": {"S": msgspec.json.encode(entry).decode()},
                "ttl": {"N": str(entry.settled_ms // 1_000 + RETENTION_DAYS * DAY_S)},
            },
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )


def per_second(ledger: Putting, tenant: str, settlements: int = SETTLEMENTS) -> float:
    """Settlements a second, of one tenant, by all threads together."""
    begin = threading.Barrier(THREADS + 1)

    def settle(thread: int) -> None:
        begin.wait()
        for number in range(settlements):
            ledger.put_if_absent(entry(T0 + thread * settlements + number, tenant=tenant))

    threads = [threading.Thread(target=settle, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    begin.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return THREADS * settlements / (time.perf_counter() - began)


def compared(tables: Tables, name: str, rounds: int) -> str:
    """With chains and without, in turns; and without a second time, to show what is chance."""
    chained, unchained = DynamoLedger(tables), Unchained(tables)
    ways: list[tuple[str, Putting, list[float]]] = [("c", chained, []), ("u", unchained, []), ("v", unchained, [])]
    per_second(unchained, f"{name}-connects")
    for number in range(rounds):
        for way in range(len(ways)):
            tenant, ledger, speeds = ways[(way + number) % len(ways)]
            speeds.append(per_second(ledger, f"{name}-{tenant}{number}"))
    found = kept(chained, tenant=f"{name}-c0")
    assert_unbroken(found)
    chains = len({each.link.chain for each in found if each.link})
    with_chains, without, again = (speeds for _, _, speeds in ways)
    return (
        f"{statistics.median(with_chains):.0f}/s in {chains} chains, "
        f"{_ratio(with_chains, without):.2f} of those without (which are {_ratio(again, without):.2f} of themselves)"
    )


def _ratio(speeds: list[float], others: list[float]) -> float:
    return statistics.median(speed / other for speed, other in zip(speeds, others, strict=True))


def link_us() -> float:
    """CPU of one link, in microseconds."""
    end, text = End(f"{DAY}.x", 0, START), msgspec.json.encode(entry()).decode()
    began = time.process_time()
    for _ in range(10_000):
        end = end.linked(text, 0).end
    return (time.process_time() - began) * 100


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.ledger.measure", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(f"a link: {link_us():.1f} us of CPU")
    for store in STORES:
        with served(store) as url:
            tables = fresh_tables(url)
            print(f"{store}, as fast as it goes: {compared(tables, 'near', options.rounds)}")
            tables.connection.observe = lambda _: time.sleep(FAR_MS / 1_000)
            print(f"{store}, {FAR_MS} ms away: {compared(tables, 'far', options.rounds)}")
            one = per_second(OneChain(DynamoLedger(tables)), "one", 2)
            print(f"{store}, {FAR_MS} ms away, had there been one chain: {one:.0f}/s")


if __name__ == "__main__":
    main()
