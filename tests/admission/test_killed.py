"""Four gateway processes of eight threads on one tenant; two of them are killed while requests are in flight."""

import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from chalicelib.admission import Admission
from chalicelib.admission.store import DynamoMeters
from chalicelib.dynamodb import Tables
from chalicelib.ledger import Entry
from chalicelib.ledger.store import DynamoLedger
from tests.admission.arrange import REGION
from tests.admission.model import assert_curve
from tests.admission.worker import LEASE_MS, LIMITS, TENANT, MetersName, divisible, now_ms
from tests.stores import ROOT, Served, StoreName, fresh_tables, prefix_of

THREADS = 8
REQUESTS = 5


@pytest.mark.parametrize("which", ["one", "several"])
def test_killed_processes_leave_nothing_held_and_nothing_charged_twice(
    stores: Served, store: StoreName, which: MetersName
) -> None:
    tables = fresh_tables(stores.url(store))
    meters, ledger = DynamoMeters(tables, REGION), DynamoLedger(tables)
    meters.open(TENANT, now_ms())
    if which == "several":
        divisible(tables, 0).divide(TENANT)

    survivors = [_start(stores.url(store), tables, which, seed, REQUESTS, "settle") for seed in (1, 2)]
    # This one is killed once four of its requests are admitted and will never be settled ...
    holding = _start(stores.url(store), tables, which, 3, 1, "hold")
    # ... and this one wherever its threads happen to be, but not before: it holds what it ends with.
    busy = _start(stores.url(store), tables, which, 4, 10 * REQUESTS, "hold")
    said = _read(busy, until="settled", times=4)
    _kill(busy)
    said += _read(holding, until="holding", times=4)
    _kill(holding)
    for process in (busy, holding, *survivors):
        assert process.stdout is not None
        said += [line for line in process.stdout.read().splitlines() if len(line.split()) == 2]
        process.stdout.close()
    assert [process.wait() for process in survivors] == [0, 0]
    told = {
        what: {line.split()[1] for line in said if line.startswith(what)} for what in ("admitted", "settled", "holding")
    }
    assert len(told["holding"]) >= 4
    assert len(told["settled"]) >= 2 * THREADS * REQUESTS

    # Some of the dead may have been finished already by survivors whom they crowded out; two reapers find the rest.
    reapers = [Admission(meters, ledger, lease_ms=LEASE_MS, region=REGION) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda reaper: reaper.reap(now_ms() + LEASE_MS + 1), reapers))

    all_meters = [meter for name in (TENANT, f"{TENANT}#1") if (meter := meters.reading(name))]
    assert len(all_meters) == (1 if which == "one" else 2)
    entries = _entries(ledger)
    # 4. Nothing stays held.
    assert all(meter.leases == {} for meter in all_meters)
    # 2. One entry for each request that anybody knows to have been admitted; what was settled says so.
    ids = Counter(entry.lease_id for entry in entries)
    assert set(ids.values()) == {1}
    assert told["admitted"] | told["holding"] <= set(ids)
    outcomes = {entry.lease_id: entry.outcome for entry in entries}
    assert {outcomes[lease_id] for lease_id in told["holding"]} == {"abandoned"}
    # 3. The windows are the sum of what the ledger charged in them.
    for key, unit, digits in (("day.td", "tokens", 10), ("soft.rm", "requests", 7)):
        window = max(meter.windows[key][0] for meter in all_meters if key in meter.windows)
        used = [meter.windows[key][1] for meter in all_meters if meter.windows.get(key, ("", 0))[0] == window]
        assert sum(used) == sum(
            getattr(entry.charged, unit)
            for entry in entries
            if datetime.fromtimestamp(entry.admitted_ms / 1_000, UTC).isoformat()[:digits] == window
        )
    # 1. The cap and the budget were watched by the processes themselves; the rate is seen from outside.
    rate = LIMITS[which].rates[0]
    admitted = sorted((entry.admitted_ms, 1) for entry in entries)
    assert_curve(admitted, rate.burst, rate.count, rate.period_ms)


def _start(url: str, tables: Tables, which: MetersName, seed: int, requests: int, last: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.admission.worker", url, prefix_of(tables), which]
    return subprocess.Popen(
        [*command, str(seed), str(THREADS), str(requests), last], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def _read(process: "subprocess.Popen[str]", *, until: str, times: int) -> list[str]:
    """Its lines up to the one that says `until` for so many times."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        times -= line.startswith(until)
        if times == 0:
            return lines
    raise AssertionError("the process ended too early")


def _kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def _entries(ledger: DynamoLedger) -> list[Entry]:
    entries: list[Entry] = []
    cursor = None
    while True:
        page, cursor = ledger.page(TENANT, 0, 2**49, cursor, 1_000)
        entries += page
        if cursor is None:
            return entries
