"""What a ledger promises, over every implementation."""

import threading
from typing import Any

import pytest

from chalicelib.ledger import Entry, FirstUse, Units, lease_id_of
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.ledger.store import DynamoLedger
from chalicelib.refusal import Malformed
from tests.stores import Served, fresh_tables

T0 = 1_795_000_000_000
KEEP_MS = 86_400_000
AnyLedger = MemoryLedger | DynamoLedger


def entry(at_ms: int = T0, *, tenant: str = "acme", chance: int = 0, tokens: int = 7) -> Entry:
    return Entry(
        tenant=tenant,
        lease_id=lease_id_of(at_ms, chance),
        request_id="req",
        outcome="completed",
        reason="",
        used=Units(requests=1, tokens=tokens),
        charged=Units(requests=1, tokens=tokens),
        admitted_ms=at_ms,
        settled_ms=at_ms + 5,
        region="us-east-1",
    )


def test_the_first_entry_stays(ledger: AnyLedger) -> None:
    first = entry(tokens=7)
    assert ledger.put_if_absent(first) is None
    assert ledger.put_if_absent(entry(tokens=8)) == first
    assert ledger.find("acme", first.lease_id) == first
    assert ledger.find("acme", lease_id_of(T0, 1)) is None
    assert ledger.find("other", first.lease_id) is None


def test_of_many_writers_one_decides(ledger: AnyLedger) -> None:
    found: list[Entry | None] = []
    writers = [
        threading.Thread(target=lambda i=i: found.append(ledger.put_if_absent(entry(tokens=i)))) for i in range(1, 9)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    decided = ledger.find("acme", lease_id_of(T0, 0))
    assert found.count(None) == 1
    assert found.count(decided) == 7


def test_late_usage_is_noted_once_beside_the_entry(ledger: AnyLedger) -> None:
    there = entry()
    ledger.note_late("acme", there.lease_id, Units(tokens=1))
    assert ledger.find("acme", there.lease_id) is None
    ledger.put_if_absent(there)
    ledger.note_late("acme", there.lease_id, Units(tokens=1))
    ledger.note_late("acme", there.lease_id, Units(tokens=2))
    noted = ledger.find("acme", there.lease_id)
    assert noted is not None
    assert (noted.late, noted.charged) == (Units(tokens=1), there.charged)
    assert ledger.page("acme", T0, T0 + 1, None, 10).entries == (noted,)


def test_pages_are_newest_first_within_their_time_and_tenant(ledger: AnyLedger) -> None:
    for at_ms in range(T0, T0 + 7):
        ledger.put_if_absent(entry(at_ms))
    ledger.put_if_absent(entry(T0 + 3, tenant="other"))
    ledger.claim("acme", "digest", "0x", T0, KEEP_MS)
    found: list[int] = []
    cursor = None
    while True:
        entries, cursor = ledger.page("acme", T0 + 1, T0 + 6, cursor, 2)
        assert len(entries) <= 2
        found += [each.admitted_ms - T0 for each in entries]
        if cursor is None:
            break
    assert found == [5, 4, 3, 2, 1]


def test_a_cursor_of_another_query_is_refused(ledger: AnyLedger) -> None:
    for cursor in ("", "nonsense", lease_id_of(T0 - 1, 0), lease_id_of(T0 + 10, 0), "idem#" + "x" * 15):
        with pytest.raises(Malformed):
            ledger.page("acme", T0, T0 + 10, cursor, 2)


def test_a_key_stands_for_the_first_request_that_claims_it(ledger: AnyLedger) -> None:
    assert ledger.claim("acme", "digest", "0a", T0, KEEP_MS) is None
    assert ledger.claim("acme", "digest", "0a", T0 + 1, KEEP_MS) is None  # the transport repeats itself
    assert ledger.claim("acme", "digest", "0b", T0 + 2, KEEP_MS) == FirstUse("digest", "0a", T0)
    assert ledger.claim("other", "digest", "0c", T0, KEEP_MS) is None
    assert ledger.claim("acme", "digest", "0b", T0 + KEEP_MS, KEEP_MS) is None


def test_a_claim_is_replaced_by_one_of_its_finders(ledger: AnyLedger) -> None:
    ledger.claim("acme", "digest", "0a", T0, KEEP_MS)
    found = ledger.claim("acme", "digest", "0b", T0, KEEP_MS)
    assert found is not None
    assert ledger.replace("acme", found, "0b", T0 + 1, KEEP_MS)
    assert ledger.replace("acme", found, "0b", T0 + 1, KEEP_MS)
    assert not ledger.replace("acme", found, "0c", T0 + 1, KEEP_MS)
    assert not ledger.replace("nobody", found, "0c", T0 + 1, KEEP_MS)
    assert ledger.claim("acme", "digest", "0d", T0 + 2, KEEP_MS) == FirstUse("digest", "0b", T0 + 1)


def test_ids_sort_by_time_and_begin_with_a_digit() -> None:
    ids = [lease_id_of(T0 + i * 977, 31**9 - i) for i in range(2_000)]
    assert ids == sorted(ids)
    assert {len(each) for each in ids} == {20}
    assert lease_id_of(9_999_999_999_999, 0)[0].isdigit()
    assert set("".join(ids)) <= set("0123456789abcdefghjkmnpqrstvwxyz")


def test_entries_and_claims_name_when_they_may_be_deleted(stores: Served) -> None:
    tables = fresh_tables(stores.url("local"))
    ledger = DynamoLedger(tables, retention_days={"acme": 2}.__getitem__)
    ledger.put_if_absent(entry())
    ledger.claim("acme", "digest", "0a", T0, KEEP_MS)
    items = tables.call("Scan", TableName=tables.ledger)["Items"]
    seconds = {item["sk"]["S"][0]: int(item["ttl"]["N"]) for item in items}
    assert seconds == {"0": T0 // 1_000 + 2 * 86_400, "i": T0 // 1_000 + 86_400}


@pytest.mark.parametrize(
    ("change", "values"),
    [
        ("REMOVE #ttl", {}),
        ("REMOVE doc", {}),
        ("REMOVE seq", {}),
        ("REMOVE #hash", {}),
        ("SET #ttl = :it", {":it": {"S": "never"}}),
        ("SET doc = :it", {":it": {"N": "1"}}),
        ("SET seq = :it", {":it": {"N": "1.5"}}),
        ("SET seq = :it", {":it": {"N": "9" * 20}}),
        ("SET late = :it", {":it": {"S": "{"}}),
    ],
)
def test_an_item_that_somebody_broke_hides_no_other_from_an_auditor(
    stores: Served, change: str, values: dict[str, Any]
) -> None:
    tables = fresh_tables(stores.url("local"))
    ledger = DynamoLedger(tables)
    broken, whole = entry(), entry(T0 + 1)
    for each in (broken, whole):
        ledger.put_if_absent(each)
    before = ledger.kept("acme", T0, T0 + 2, None, 10).kept
    arguments: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
    if "#" in change:
        arguments["ExpressionAttributeNames"] = {name: name[1:] for name in ("#ttl", "#hash") if name in change}
    tables.call(
        "UpdateItem",
        TableName=tables.ledger,
        Key={"pk": {"S": "acme"}, "sk": {"S": broken.lease_id}},
        UpdateExpression=change,
        **arguments,
    )
    after = ledger.kept("acme", T0, T0 + 2, None, 10).kept
    assert [each.lease_id for each in after] == [whole.lease_id, broken.lease_id]
    assert after[0] == before[0]
    assert (after[1] == before[1]) is change.startswith("SET late")
