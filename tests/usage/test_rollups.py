"""Roll-ups and marks of late entries behind their seams: one suite for memory and for two DynamoDBs."""

import signal
import subprocess
import sys

import msgspec
import pytest

from chalicelib.ledger.lateness import LATE_MS, Late
from chalicelib.ledger.lease_id import lease_id_of
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.ledger.store import DynamoLedger
from chalicelib.usage import NoUsageTable, Roller, Rollups, Usage
from chalicelib.usage.reader import Asked
from chalicelib.usage.roller import GRACE_MS
from chalicelib.usage.rollup import Part
from chalicelib.usage.rollups import Mark, closed_of
from chalicelib.usage.store import DynamoRollups
from chalicelib.usage.times import DAY_MS, HOUR_MS
from tests.stores import ROOT, Served, StoreName, fresh_tables, prefix_of, reach_tables, sent
from tests.usage.arrange import T0, TENANT, kept, made

OVER = T0 + 2 * DAY_MS + GRACE_MS


def part(start_ms: int, number: int = 0, *, requests: int = 1, tenant: str = TENANT) -> Part:
    return Part(tenant, "hour", start_ms, number, 2, requests, f"[{requests}]")


def test_parts_are_read_in_order_and_by_their_bucket_alone(rollups: Rollups) -> None:
    there = [part(T0 + hour * HOUR_MS, number) for hour in range(3) for number in range(2)]
    for each in reversed(there):
        rollups.put(each)
    rollups.put(part(T0, tenant="bolt"))
    rollups.put(msgspec.structs.replace(part(T0), span="day"))
    assert list(rollups.read(TENANT, "hour", T0, T0 + DAY_MS)) == there
    assert list(rollups.read(TENANT, "hour", T0 + 1, T0 + 2 * HOUR_MS)) == there[2:4]
    assert list(rollups.read(TENANT, "hour", T0 + HOUR_MS, T0 + HOUR_MS)) == []
    assert rollups.last(TENANT, "hour") == there[-1]
    assert rollups.last("bolt", "day") is rollups.last("nobody", "hour") is None


def test_more_than_a_page_of_the_store_is_read_to_its_end(rollups: Rollups) -> None:
    there = [msgspec.structs.replace(part(T0 + hour * HOUR_MS), text='""' * 20_000) for hour in range(60)]
    for each in there:
        rollups.put(each)
    assert list(rollups.read(TENANT, "hour", T0, T0 + 60 * HOUR_MS)) == there


def test_a_part_gives_way_to_one_that_counted_as_many_or_more(rollups: Rollups) -> None:
    for requests, stays in ((2, 2), (1, 2), (2, 2), (3, 3)):
        rollups.put(part(T0, requests=requests))
        assert [each.requests for each in rollups.read(TENANT, "hour", T0, T0 + 1)] == [stays]


def test_an_hour_of_which_a_part_is_missing_is_not_closed(rollups: Rollups) -> None:
    assert closed_of(rollups, TENANT).until_ms == 0
    rollups.put(part(T0))
    assert closed_of(rollups, TENANT).until_ms == T0
    rollups.put(part(T0, 1))
    assert closed_of(rollups, TENANT).until_ms == T0 + HOUR_MS


def test_the_mark_is_what_was_put_last(rollups: Rollups) -> None:
    assert rollups.mark() == Mark()
    rollups.put_mark(Mark(1, 2))
    rollups.put_mark(Mark(3, 4))
    assert rollups.mark() == Mark(3, 4)


@pytest.fixture(params=["memory", "local", "ministack"])
def late_ledger(request: pytest.FixtureRequest, stores: Served) -> MemoryLedger | DynamoLedger:
    """One that is written a while after everything was admitted."""
    if request.param == "memory":
        return MemoryLedger(clock=lambda: T0 + HOUR_MS)
    name: StoreName = request.param
    return DynamoLedger(fresh_tables(stores.url(name)), clock=lambda: T0 + HOUR_MS)


def test_late_entries_are_marked_once_for_each_hour_by_when_they_came(
    late_ledger: MemoryLedger | DynamoLedger,
) -> None:
    for number, at_ms in enumerate((T0 - HOUR_MS, T0 - 1, T0, T0 + HOUR_MS - LATE_MS)):
        late_ledger.put_if_absent(made(at_ms, number))
    late_ledger.put_if_absent(made(T0, 9, tenant="bolt"))
    came_ms = T0 + HOUR_MS
    assert late_ledger.late(came_ms, came_ms + 1) == [
        *(Late(TENANT, T0 - HOUR_MS), Late(TENANT, T0), Late("bolt", T0)),
    ]
    assert late_ledger.late(0, came_ms) == late_ledger.late(came_ms + 60_000, came_ms + DAY_MS) == []
    assert late_ledger.find(TENANT, lease_id_of(T0, 2)) is not None


# DynamoDB alone

KILLED = """
import os, signal, sys
from chalicelib.ledger.store import DynamoLedger
from chalicelib.usage import Roller
from chalicelib.usage.store import DynamoRollups
from tests.stores import reach_tables

url, prefix, last, now_ms = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

class Killed(DynamoRollups):
    written = 0

    def put(self, part):
        super().put(part)
        self.written += 1
        if self.written == last:
            os.kill(os.getpid(), signal.SIGKILL)

tables = reach_tables(url, prefix)
ledger = DynamoLedger(tables)
Roller(ledger, ledger, Killed(tables)).run(lambda: ["acme"], now_ms)
"""


def test_a_process_that_is_killed_between_two_writes_leaves_what_the_next_run_makes_the_same(stores: Served) -> None:
    url = stores.url("local")
    entries = [made(T0 + hour * HOUR_MS, hour, key=f"k{hour % 2}") for hour in (0, 1, 23, 25)]
    undisturbed = fresh_tables(url)
    for tables in (undisturbed, killed := fresh_tables(url)):
        for entry in entries:
            DynamoLedger(tables).put_if_absent(entry)
    expected = DynamoRollups(undisturbed)
    assert Roller(DynamoLedger(undisturbed), DynamoLedger(undisturbed), expected).run(lambda: [TENANT], OVER) == 6
    for last in (1, 2, 1, 1):  # of what is left: the three hours of a day, the day, an hour of the next
        arguments = [sys.executable, "-c", KILLED, url, prefix_of(killed), str(last), str(OVER)]
        assert subprocess.run(arguments, cwd=ROOT).returncode == -signal.SIGKILL
    ledger, rollups = DynamoLedger(killed), DynamoRollups(killed)
    assert [row.tally.requests for row in Usage(ledger, rollups).rows(Asked(TENANT, T0, OVER, "day"))] == [3, 1]
    Roller(ledger, ledger, rollups).run(lambda: [TENANT], OVER)
    assert kept(rollups) == kept(expected)


def test_a_deployment_without_the_table_says_so(stores: Served) -> None:
    tables = fresh_tables(stores.url("local"))
    tables.call("DeleteTable", TableName=tables.usage)
    with pytest.raises(NoUsageTable, match=r"infra/tables\.yaml"):
        DynamoRollups(tables).mark()


def test_what_a_run_asks_the_store(stores: Served) -> None:
    tables = fresh_tables(stores.url("local"))
    ledger = DynamoLedger(tables)
    for number in range(300):
        ledger.put_if_absent(made(T0 + number, number))
    asked = sent(seen := reach_tables(stores.url("local"), prefix_of(tables)))
    ledger = DynamoLedger(seen)
    roller = Roller(ledger, ledger, DynamoRollups(seen))
    for hours, expected in (
        (1, ["GetItem", "Query", *["Query"] * 3, "PutItem", "PutItem"]),  # the hour, and the mark
        (1, ["GetItem", "Query"]),  # until the next hour is over
        (2, ["GetItem", "Query", *["Query"] * 3, "PutItem"]),  # nothing came
    ):
        roller.run(lambda: [TENANT], T0 + hours * HOUR_MS + GRACE_MS)
        assert asked == expected
        asked.clear()
