"""How long usage of a month with a million entries takes, for docs/measured: `python -m tests.usage.measure`.

The ledger is made up as it is read, one entry every 2.6 s under twenty keys with a model each. Roll-ups are written to
and read from a served DynamoDB (the local cloud's), and asked for over HTTP at the gateway as it is served, by calls
on one connection. Wall times are those of an emulator on this machine.
"""

import statistics
import time
from collections.abc import Callable

import msgspec

from chalicelib import wiring
from chalicelib.ledger.lease_id import instant_of
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.ledger.records import Kept, KeptPage
from chalicelib.usage import Roller
from chalicelib.usage.roller import GRACE_MS
from chalicelib.usage.store import DynamoRollups
from chalicelib.usage.times import DAY_MS, HOUR_MS
from tests.small_deployments import Deployment, dynamodb, front, served
from tests.stores import fresh_tables, prefix_of, reach_tables, sent
from tests.stores import served as served_store
from tests.usage.arrange import T0, made

DAYS = 30
ENTRIES = 1_000_000
EVERY_MS = DAYS * DAY_MS // ENTRIES
ASKED = 30


class MadeUp(MemoryLedger):
    """A million entries, of which none is kept."""

    def kept(self, tenant: str, since_ms: int, until_ms: int, cursor: str | None, limit: int) -> KeptPage:
        if tenant != "acme":
            return KeptPage((), None)
        end_ms = until_ms if cursor is None else instant_of(cursor) or 0
        last = min(ENTRIES - 1, -(-(end_ms - T0) // EVERY_MS) - 1)
        first = max(0, -(-(since_ms - T0) // EVERY_MS))
        found = tuple(_kept(number) for number in range(last, max(first, last - limit + 1) - 1, -1))
        return KeptPage(found, found[-1].lease_id if len(found) == limit and last - limit + 1 > first else None)


def _kept(number: int) -> Kept:
    at_ms = T0 + number * EVERY_MS
    # Neighbours differ, as they do where many call at once.
    entry = made(at_ms, number, pool=f"model-{number % 5}", key=f"key-{number * 7 % 20:02}")
    return Kept(entry.lease_id, msgspec.json.encode(entry).decode(), 0, None)


def main() -> None:
    with served_store("local") as url:
        tables = fresh_tables(url)
        ledger, rollups = MadeUp(), DynamoRollups(tables)
        operations = sent(tables)
        began_s = time.perf_counter()
        for hour in range(DAYS * 24 + 1):
            Roller(ledger, ledger, rollups).run(lambda: ["acme"], T0 + hour * HOUR_MS + GRACE_MS)
        took_s = time.perf_counter() - began_s
        hours = DAYS * 24
        print(f"rolled up by the hour: {took_s / hours * 1e3:.0f} ms for each of {hours}, {ENTRIES // hours:,} entries")
        print(f"writes: {operations.count('PutItem')}: {hours} hours, {DAYS} days, and a mark for each run")
        deployment = Deployment(dynamodb(reach_tables(url, prefix_of(tables))))
        deployment.clock.now_ms = T0 + DAYS * DAY_MS + GRACE_MS
        deployment.pool("model-a", "a")
        deployment.tenant("acme")
        key = deployment.key("acme", "analyst")
        with wiring.opening_into(deployment.rooms()), served(front(), kept=True) as gateway:

            def ask(query: str) -> Callable[[], int]:
                path = f"/tenants/acme/v1/usage?from=2026-11-18&to=2026-12-18{query}"

                def asked() -> int:
                    answer = gateway.call("GET", path, key=key)
                    assert answer.status == 200, answer.body
                    data = answer.json["data"]
                    if len(data) < 1_000:
                        assert sum(row["requests"] for row in data) == ENTRIES
                    return len(data)

                return asked

            for name, query in (
                ("by day", ""),
                ("by day and model", "&group_by=model"),
                ("by day, model and key: its first page", "&group_by=model,key"),
                ("by hour", "&bucket=hour"),
            ):
                asked = ask(query)
                rows = asked()
                took = sorted(_ms(asked) for _ in range(ASKED))
                slowest = f"the slowest of {ASKED} {took[-1]:.0f} ms"
                print(f"{name}: {rows} rows, p50 {statistics.median(took):.0f} ms, {slowest}")


def _ms(work: Callable[[], int]) -> float:
    began_s = time.perf_counter()
    work()
    return (time.perf_counter() - began_s) * 1e3


if __name__ == "__main__":
    main()
