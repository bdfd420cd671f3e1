"""Throughput with chains and without, for docs/audit.md: `python -m tests.ledger.measure`.

One tenant, many threads, one process that settles as a gateway does; the store is a process of its own. Both ways take
turns, so that what else the machine does falls on both. Wall times are those of an emulator and say nothing about
DynamoDB; the ratio does, and so does the CPU of a link.
"""

import argparse
import statistics
import threading
import time

import msgspec

from chalicelib.ledger import DynamoLedger, Entry
from chalicelib.ledger.chain import START, End
from chalicelib.ledger.store import DAY_S, RETENTION_DAYS
from chalicelib.tables import Tables
from tests.ledger.arrange import DAY, T0, assert_unbroken, entry, kept
from tests.stores import STORES, fresh_tables, served

THREADS = 32
SETTLEMENTS = 40  # of each thread in each round
ROUNDS = 7


class Unchained:
    """A ledger's entries as they were written before there were chains."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def put_if_absent(self, entry: Entry) -> None:
        self._tables.call(
            "PutItem",
            TableName=self._tables.ledger.Meta.table_name,
            Item={
                "pk": {"S": entry.tenant},
                "sk": {"S": entry.lease_id},
                "doc": {"S": msgspec.json.encode(entry).decode()},
                "ttl": {"N": str(entry.settled_ms // 1_000 + RETENTION_DAYS * DAY_S)},
            },
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )


def per_second(ledger: DynamoLedger | Unchained, tenant: str) -> float:
    """Settlements a second, of one tenant, by all threads together."""
    begin = threading.Barrier(THREADS + 1)

    def settle(thread: int) -> None:
        begin.wait()
        for number in range(SETTLEMENTS):
            ledger.put_if_absent(entry(T0 + thread * SETTLEMENTS + number, tenant=tenant))

    threads = [threading.Thread(target=settle, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    begin.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return THREADS * SETTLEMENTS / (time.perf_counter() - began)


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
            chained, unchained = DynamoLedger(tables), Unchained(tables)
            ratios, speeds = [], []
            for number in range(options.rounds):
                ways: list[tuple[DynamoLedger | Unchained, str]] = [(chained, f"c{number}"), (unchained, f"u{number}")]
                told = {tenant[0]: per_second(ledger, tenant) for ledger, tenant in ways[:: 1 if number % 2 else -1]}
                ratios.append(told["c"] / told["u"])
                speeds.append(told["c"])
            found = kept(chained, tenant="c0")
            assert_unbroken(found)
            chains = {each.link.chain for each in found if each.link}
            print(
                f"{store}: {THREADS} threads, {statistics.median(speeds):.0f} settlements/s with chains, "
                f"{statistics.median(ratios):.2f} of those without "
                f"({min(ratios):.2f} to {max(ratios):.2f} in {options.rounds} rounds); {len(chains)} chains"
            )


if __name__ == "__main__":
    main()
