"""Entries in hash chains, over every implementation; and what holds no settlement up."""

import json
import threading
from collections import Counter
from pathlib import Path

import pytest

from chalicelib.ledger.chain import DAY_MS, LONGEST, MOST_FREE, START, Chains, End, Link, day_of
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.ledger.store import DynamoLedger
from chalicelib.refusal import StoreUnavailable
from tests.fault_proxy import Fault, fault_proxy
from tests.ledger.arrange import DAY, T0, assert_unbroken, entry, kept
from tests.stores import Served, fresh_tables, prefix_of, reach_tables, sent

AnyLedger = MemoryLedger | DynamoLedger


def test_one_settlement_after_the_other_makes_one_chain(ledger: AnyLedger) -> None:
    for number in range(5):
        ledger.put_if_absent(entry(T0 + number))
    found = kept(ledger)
    assert_unbroken(found)
    assert len({each.link.chain for each in found if each.link}) == 1
    assert [each.entry for each in found] == [entry(T0 + number) for number in range(5)]


def test_tenants_and_days_have_chains_of_their_own(ledger: AnyLedger) -> None:
    for at_ms in (T0, T0 + DAY_MS):
        for tenant in ("acme", "bolt"):
            ledger.put_if_absent(entry(at_ms, tenant=tenant))
    found = [*kept(ledger), *kept(ledger, day_of(T0 + DAY_MS)), *kept(ledger, tenant="bolt")]
    assert {each.link.seq for each in found if each.link} == {1}
    assert len({each.link.chain for each in found if each.link}) == 3
    assert [each.link.chain[:10] for each in found if each.link] == [DAY, day_of(T0 + DAY_MS), DAY]


def test_an_entry_belongs_to_the_day_of_its_admission_however_late_it_is_settled(ledger: AnyLedger) -> None:
    ledger.put_if_absent(entry(settled_ms=T0 + 3 * DAY_MS))
    (found,) = kept(ledger)
    assert found.link is not None and found.link.chain.startswith(f"{DAY}.")


def test_an_entry_that_is_there_already_takes_no_place_in_a_chain(ledger: AnyLedger) -> None:
    ledger.put_if_absent(entry(T0))
    ledger.put_if_absent(entry(T0, tokens=8))
    ledger.put_if_absent(entry(T0 + 1))
    found = kept(ledger)
    assert_unbroken(found)
    assert len(found) == 2


def test_late_usage_changes_no_hash(ledger: AnyLedger) -> None:
    ledger.put_if_absent(there := entry())
    (before,) = kept(ledger)
    ledger.note_late("acme", there.lease_id, there.used)
    (after,) = kept(ledger)
    assert (after.text, after.link, after.late) == (before.text, before.link, there.used)


def test_settlements_at_once_wait_for_nobody_and_leave_whole_chains(ledger: AnyLedger) -> None:
    at_once, each = 8, 6

    def settle(thread: int) -> None:
        for number in range(each):
            ledger.put_if_absent(entry(T0 + thread * 100 + number))

    threads = [threading.Thread(target=settle, args=(number,)) for number in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = kept(ledger)
    assert_unbroken(found)
    assert len(found) == at_once * each
    assert len({link.chain for each in found if (link := each.link)}) <= at_once


def test_chaining_costs_no_call(stores: Served) -> None:
    tables = fresh_tables(stores.url("local"))
    ledger = DynamoLedger(tables)
    calls = sent(tables)
    for number in range(3):
        ledger.put_if_absent(entry(T0 + number))
    assert Counter(calls) == {"PutItem": 3}


def test_an_entry_without_a_chain_is_still_read(stores: Served) -> None:
    tables = fresh_tables(stores.url("local"))
    DynamoLedger(tables).put_if_absent(entry())
    tables.call(
        "UpdateItem",
        TableName=tables.ledger,
        Key={"pk": {"S": "acme"}, "sk": {"S": entry().lease_id}},
        UpdateExpression="REMOVE chain, seq, prev, #hash",
        ExpressionAttributeNames={"#hash": "hash"},
    )
    (found,) = kept(DynamoLedger(tables))
    assert (found.entry, found.link) == (entry(), None)


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.ERROR_500], ids=["landed", "did not land"])
def test_a_write_that_the_transport_repeats_is_one_link(stores: Served, fault: Fault) -> None:
    with fault_proxy(stores.url("local")) as (proxy, url):
        truth = fresh_tables(stores.url("local"))
        ledger = DynamoLedger(reach_tables(url, prefix_of(truth)))
        proxy.plan(Fault.NONE, fault)
        for number in range(3):
            ledger.put_if_absent(entry(T0 + number))
    found = kept(DynamoLedger(truth))
    assert_unbroken(found)
    assert [each.link.seq for each in found if each.link] == [1, 2, 3]


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.ERROR_500], ids=["landed", "did not land"])
def test_a_chain_is_left_where_nobody_knows_whether_it_grew(stores: Served, fault: Fault) -> None:
    with fault_proxy(stores.url("local")) as (proxy, url):
        truth = fresh_tables(stores.url("local"))
        ledger = DynamoLedger(reach_tables(url, prefix_of(truth)))
        ledger.put_if_absent(entry(T0))
        proxy.plan(fault, fault)
        with pytest.raises(StoreUnavailable):
            ledger.put_if_absent(entry(T0 + 1))
        ledger.put_if_absent(entry(T0 + 1))
        ledger.put_if_absent(entry(T0 + 2))
    found = kept(DynamoLedger(truth))
    assert_unbroken(found)
    first, second, third = sorted(found, key=lambda each: each.lease_id)
    assert first.link and second.link and third.link
    # Where it had landed, the repetition found it there, and took no place in the chain that it began.
    assert (second.link.chain == first.link.chain) == (fault is Fault.LOST)
    assert third.link.chain != first.link.chain


def test_a_chain_that_is_long_enough_is_followed_by_another() -> None:
    chains = Chains(lambda size: bytes(size))
    chains.give_back("acme", DAY, End("old", LONGEST - 1, START))
    assert chains.borrow("acme", DAY).chain == "old"
    chains.give_back("acme", DAY, End("old", LONGEST, START))
    assert chains.borrow("acme", DAY).chain != "old"


def test_a_process_remembers_chains_of_so_many_tenants_and_no_more() -> None:
    chains = Chains(lambda size: bytes(size))
    for number in range(MOST_FREE + 1):
        chains.give_back(f"tenant{number}", DAY, End("old", 1, START))
    assert chains.borrow("tenant0", DAY).seq == 0
    assert chains.borrow(f"tenant{MOST_FREE}", DAY).seq == 1


def test_a_link_is_what_every_program_agrees_on() -> None:
    vectors = Path(__file__).parents[2] / "vectors" / "audit" / "days.json"
    entries = [each for day in json.loads(vectors.read_bytes()) for each in day["entries"]]
    assert len(entries) == 12
    for each in entries:
        link = each["link"]
        before = End(link["chain"], link["seq"] - 1, link["prev"])
        assert before.linked(each["text"], each["expires_s"]) == Link(**link)
