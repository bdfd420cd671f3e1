"""What requests write by the wire is what the models of tables.py would have written, attribute by attribute."""

from collections.abc import Callable
from typing import get_args

import pytest
from pynamodb.models import Model

from chalicelib.admission import Admission
from chalicelib.admission.limits import DEFAULT_LIMITS
from chalicelib.admission.store import DynamoMeters
from chalicelib.contents.pieces import Piece
from chalicelib.contents.store import DynamoPieces
from chalicelib.documents import Document
from chalicelib.documents.store import DynamoDocuments
from chalicelib.dynamodb import Item, Tables
from chalicelib.ledger import Units
from chalicelib.ledger.head import SignedHead
from chalicelib.ledger.store import DynamoHeads, DynamoLedger
from chalicelib.tables import ContentItem, HeadItem, LedgerItem, MeterItem, TenancyItem, UsageItem
from chalicelib.tenancy.tenant import What
from chalicelib.usage.rollup import Part
from chalicelib.usage.rollups import Mark
from chalicelib.usage.store import DynamoRollups
from chalicelib.velocity.store import DynamoWindows
from chalicelib.velocity.windows import Window
from tests.ledger.arrange import T0, entry
from tests.stores import REGION, Served, fresh_tables

DAY_MS = 86_400_000


def held(tables: Tables, table: str) -> list[Item]:
    items: list[Item] = tables.call("Scan", TableName=table)["Items"]
    return items


def documents(tables: Tables) -> list[Item]:
    DynamoDocuments(tables).put(Document("acme", "tenant", '{"name":"Ä"}'))
    return held(tables, tables.tenancy)


def meters(tables: Tables) -> list[Item]:
    meters = DynamoMeters(tables, REGION)
    Admission(meters, DynamoLedger(tables), lease_ms=90_000, region=REGION).admit(
        tenant="acme",
        epoch=meters.open("acme", T0),
        limits=DEFAULT_LIMITS,
        units=Units(requests=1, tokens=10),
        lease_id="0lease",
        now_ms=T0,
    )
    return held(tables, tables.meters)


def entries(tables: Tables) -> list[Item]:
    ledger = DynamoLedger(tables)
    ledger.put_if_absent(entry())
    ledger.note_late("acme", entry().lease_id, Units(tokens=1))
    ledger.claim("acme", "digest", "0a", T0, DAY_MS)
    return held(tables, tables.ledger)


def windows(tables: Tables) -> list[Item]:
    adding: dict[What, tuple[bytes, int]] = dict.fromkeys(get_args(What), (b"\x00\xff", 9))
    DynamoWindows(tables).add("acme", Window(60, 7), adding)
    return held(tables, tables.ledger)


def heads(tables: Tables) -> list[Item]:
    DynamoHeads(tables).put_if_absent("acme", "2026-11-18#0", SignedHead("{}", "c2lnbmVk"))
    return held(tables, tables.heads)


def late(tables: Tables) -> list[Item]:
    DynamoLedger(tables, clock=lambda: T0 + DAY_MS).put_if_absent(entry())
    return [item for item in held(tables, tables.ledger) if item["pk"] == {"S": "~late"}]


def usage(tables: Tables) -> list[Item]:
    rollups = DynamoRollups(tables)
    rollups.put(Part("acme", "hour", 0, 0, 1, 1, "[]"))
    rollups.put_mark(Mark(1, 2))
    return held(tables, tables.usage)


def pieces(tables: Tables) -> list[Item]:
    DynamoPieces(tables).put(Piece("acme", "resp_1", "000", b"\x00\xff", 1_900_000_000))
    return held(tables, tables.contents)


@pytest.mark.parametrize(
    ("written", "count", "model"),
    [
        (documents, 1, TenancyItem),
        (meters, 1, MeterItem),
        (entries, 2, LedgerItem),
        (windows, 1, LedgerItem),
        (heads, 1, HeadItem),
        (pieces, 1, ContentItem),
        (late, 1, LedgerItem),
        (usage, 2, UsageItem),
    ],
)
def test_an_item_is_its_models_item(
    stores: Served, written: Callable[[Tables], list[Item]], count: int, model: type[Model]
) -> None:
    items = written(fresh_tables(stores.url("local")))
    assert len(items) == count
    for item in items:
        assert model.from_raw_data(item).serialize() == item
