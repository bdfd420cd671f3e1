"""Entries, first uses and heads in DynamoDB.

    entry   pk tenant, sk lease id       doc: the entry as JSON; late: units as JSON, once noted; ttl
                                         chain, seq, prev, hash: its place in a chain; none in old entries
                                         erased: N milliseconds, and no doc, where it is a tombstone
    use     pk tenant, sk idem#<digest>  lease: lease id of the first use; claimed: N milliseconds; ttl
    late    pk `~late`, sk <minute>#<tenant>#<hour>   an entry of that hour came late; ttl
    head    pk tenant, sk <day>#<part>   doc: the head as JSON; signature: base64; in a table of their own, for good

Other logs than the tenants' have `log` for the tenant; what is appended to them is kept as entries are.
Lease ids begin with a digit, so first uses never come between entries in a query by time.
"""

import re
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from chalicelib.clock import Clock
from chalicelib.dynamodb import ConditionFailed, Item, Tables
from chalicelib.ledger.chain import LONGEST, Chains, Link, day_of, salted
from chalicelib.ledger.entry import Entry
from chalicelib.ledger.head import SignedHead
from chalicelib.ledger.heads import HeadPage
from chalicelib.ledger.lateness import LATE_MS, MARKS_S, MINUTE_MS, Late, late_of
from chalicelib.ledger.lease_id import since
from chalicelib.ledger.records import FirstUse, Kept, KeptPage, Page
from chalicelib.ledger.units import Units
from chalicelib.refusal import Malformed

DAY_S = 86_400
RETENTION_DAYS = 30
LATE = "~late"
_CURSOR = re.compile(r"[0-9a-z]{20}")

Retention = Callable[[str], int]
"""How many days a tenant's entries are kept after their settlement."""


class DynamoLedger:
    """Implements Ledger, FirstUses, Log and Lates."""

    def __init__(
        self,
        tables: Tables,
        retention_days: Retention = lambda _tenant: RETENTION_DAYS,
        chance: Callable[[int], bytes] = secrets.token_bytes,
        clock: Clock | None = None,
    ) -> None:
        """`clock`: without one, no entry is late."""
        self._tables = tables
        self._table: str = tables.ledger
        self._retention_days = retention_days
        self._chains = Chains(chance)
        self._clock = clock
        self._chance = chance

    def put_if_absent(self, entry: Entry) -> Entry | None:
        if self._clock is not None and (now_ms := self._clock()) - entry.admitted_ms > LATE_MS:
            # Before the entry: who counts the hour meanwhile finds the mark, and counts it again.
            self._put(_late_item(late_of(entry), now_ms), "", {}, {})
        expires_s = entry.settled_ms // 1_000 + self._retention_days(entry.tenant) * DAY_S
        text = msgspec.json.encode(entry).decode()
        there = self.append(entry.tenant, entry.lease_id, text, entry.admitted_ms, expires_s)
        return there.entry if there and there.erased_ms is None else None

    def append(self, log: str, lease_id: str, text: str, at_ms: int, expires_s: int) -> Kept | None:
        day, text = day_of(at_ms), salted(text, self._chance)
        end = self._chains.borrow(log, day)
        link = end.linked(text, expires_s)
        try:
            self._put(_linked_item(_key(log, lease_id), text, expires_s, link), "attribute_not_exists(pk)", {}, {})
        except ConditionFailed as failed:
            there = _kept(failed.old)
            # Our own link: the transport repeated a write that had landed.
            self._chains.give_back(log, day, link.end if there.link == link else end)
            return there
        # Not where the store is unavailable: whether the chain grew is not known then, so it is not gone on with.
        self._chains.give_back(log, day, link.end)
        return None

    def find(self, tenant: str, lease_id: str) -> Entry | None:
        answer = self._tables.call("GetItem", TableName=self._table, Key=_key(tenant, lease_id), ConsistentRead=True)
        there = _kept(answer["Item"]) if answer.get("Item") else None
        return there.entry if there and there.erased_ms is None else None

    def late(self, since_ms: int, until_ms: int) -> list[Late]:
        first, end = _minute(max(0, since_ms)), since(until_ms)
        pages = self._tables.pages(
            "Query",
            TableName=self._table,
            KeyConditionExpression="pk = :late AND sk BETWEEN :first AND :end",
            ExpressionAttributeValues={":late": {"S": LATE}, ":first": {"S": first}, ":end": {"S": end}},
            ConsistentRead=True,
        )
        return sorted({_late_mark(item) for page in pages for item in page["Items"]})

    def note_late(self, tenant: str, lease_id: str, units: Units) -> None:
        try:
            self._tables.call(
                "UpdateItem",
                TableName=self._table,
                Key=_key(tenant, lease_id),
                # Beside the entry, not in it: one write, and the entry stays as it was.
                UpdateExpression="SET late = if_not_exists(late, :units)",
                ConditionExpression="attribute_exists(pk)",
                ExpressionAttributeValues={":units": {"S": msgspec.json.encode(units).decode()}},
            )
        except ConditionFailed:
            # The entry has outlived its retention; there is nothing to note it on.
            return

    def page(self, tenant: str, since_ms: int, until_ms: int, cursor: str | None, limit: int) -> Page:
        found, after = self.kept(tenant, since_ms, until_ms, cursor, limit)
        return Page(tuple(kept.entry for kept in found if kept.erased_ms is None), after)

    def kept(self, tenant: str, since_ms: int, until_ms: int, cursor: str | None, limit: int) -> KeptPage:
        first, end = since(since_ms), since(until_ms)
        if cursor is not None and not (_CURSOR.fullmatch(cursor) and first <= cursor < end):
            raise Malformed("`cursor` is not one that this query returned.", field="cursor")
        arguments: dict[str, Any] = {"ExclusiveStartKey": _key(tenant, cursor)} if cursor else {}
        answer = self._tables.call(
            "Query",
            TableName=self._table,
            KeyConditionExpression="pk = :tenant AND sk BETWEEN :first AND :end",
            ExpressionAttributeValues={":tenant": {"S": tenant}, ":first": {"S": first}, ":end": {"S": end}},
            ScanIndexForward=False,
            Limit=limit,
            **arguments,
        )
        after = answer.get("LastEvaluatedKey")
        return KeptPage(tuple(_kept(item) for item in answer["Items"]), after["sk"]["S"] if after else None)

    def claim(self, tenant: str, digest: str, lease_id: str, now_ms: int, keep_ms: int) -> FirstUse | None:
        try:
            self._put(
                _first_use_item(tenant, digest, lease_id, now_ms, keep_ms),
                # DynamoDB deletes by ttl when it finds the time; until then the item must not count.
                "attribute_not_exists(pk) OR claimed <= :old",
                {},
                {":old": {"N": str(now_ms - keep_ms)}},
            )
        except ConditionFailed as failed:
            found = FirstUse(digest, failed.old["lease"]["S"], int(failed.old["claimed"]["N"]))
            # Ours: the transport repeated the write.
            return None if found.lease_id == lease_id else found
        return None

    def replace(self, tenant: str, found: FirstUse, lease_id: str, now_ms: int, keep_ms: int) -> bool:
        try:
            self._put(
                _first_use_item(tenant, found.digest, lease_id, now_ms, keep_ms),
                "#lease = :found",
                {"#lease": "lease"},
                {":found": {"S": found.lease_id}},
            )
        except ConditionFailed as failed:
            return bool(failed.old) and failed.old["lease"]["S"] == lease_id
        return True

    def _put(self, item: Item, condition: str, names: dict[str, str], values: Item) -> None:
        arguments: dict[str, Any] = {}
        if condition:
            arguments["ConditionExpression"] = condition
            arguments["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if names:
            arguments["ExpressionAttributeNames"] = names
        if values:
            arguments["ExpressionAttributeValues"] = values
        self._tables.call(
            "PutItem",
            TableName=self._table,
            Item=item,
            **arguments,
        )


class DynamoHeads:
    """Implements Heads."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._table: str = tables.heads

    def put_if_absent(self, tenant: str, place: str, head: SignedHead) -> bool:
        try:
            self._tables.call(
                "PutItem",
                TableName=self._table,
                Item={**_key(tenant, place), "doc": {"S": head.text}, "signature": {"S": head.signature}},
                ConditionExpression="attribute_not_exists(pk)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            return _head(failed.old) == head  # the transport repeated the write
        return True

    def last(self, tenant: str) -> SignedHead | None:
        answer = self._tables.call(
            "Query",
            TableName=self._table,
            KeyConditionExpression="pk = :tenant",
            ExpressionAttributeValues={":tenant": {"S": tenant}},
            ScanIndexForward=False,
            ConsistentRead=True,
            Limit=1,
        )
        return _head(answer["Items"][0]) if answer["Items"] else None

    def page(self, tenant: str, first: str, end: str, cursor: str | None, limit: int) -> HeadPage:
        arguments: dict[str, Any] = {"ExclusiveStartKey": _key(tenant, cursor)} if cursor else {}
        answer = self._tables.call(
            "Query",
            TableName=self._table,
            KeyConditionExpression="pk = :tenant AND sk BETWEEN :first AND :end",
            ExpressionAttributeValues={":tenant": {"S": tenant}, ":first": {"S": first}, ":end": {"S": end}},
            Limit=limit,
            **arguments,
        )
        after = answer.get("LastEvaluatedKey")
        return HeadPage(tuple(_head(item) for item in answer["Items"]), after["sk"]["S"] if after else None)


def _key(tenant: str, sort: str) -> Item:
    return {"pk": {"S": tenant}, "sk": {"S": sort}}


def _first_use_item(tenant: str, digest: str, lease_id: str, now_ms: int, keep_ms: int) -> Item:
    return {
        **_key(tenant, f"idem#{digest}"),
        "lease": {"S": lease_id},
        "claimed": {"N": str(now_ms)},
        "ttl": {"N": str((now_ms + keep_ms) // 1_000)},
    }


def _linked_item(key: Item, text: str, expires_s: int, link: Link) -> Item:
    return {
        **key,
        "doc": {"S": text},
        "ttl": {"N": str(expires_s)},
        "chain": {"S": link.chain},
        "seq": {"N": str(link.seq)},
        "prev": {"B": link.prev},
        "hash": {"B": link.hash},
    }


_OF_TOMBSTONES = frozenset(("pk", "sk", "ttl", "chain", "seq", "prev", "hash"))


def tombstone(entry: Item, now_ms: int) -> Item | None:
    """What its chain needs of an entry that is erased. None: it is in no chain, and nothing stays."""
    if "hash" not in entry:
        return None
    return {name: entry[name] for name in entry.keys() & _OF_TOMBSTONES} | {"erased": {"N": str(now_ms)}}


def erased_ms(item: Item) -> int | None:
    """Of a tombstone alone: who adds the attribute to an entry erases nothing."""
    erased = _attribute(item, "erased", "N")
    return int(erased) if erased.isdecimal() and not _attribute(item, "doc", "S") else None


def _late_item(late: Late, now_ms: int) -> Item:
    return {
        **_key(LATE, f"{_minute(now_ms)}#{late.tenant}#{late.hour_ms}"),
        "ttl": {"N": str(now_ms // 1_000 + MARKS_S)},
    }


def _late_mark(item: Item) -> Late:
    _, tenant, hour_ms = item["sk"]["S"].split("#")
    return Late(tenant, int(hour_ms))


def _minute(at_ms: int) -> str:
    return since(at_ms - at_ms % MINUTE_MS)


def _kept(item: Item) -> Kept:
    """Whatever somebody has made of the item: what is wrong with it is the auditor's to say, of this one entry."""
    expires_s = _attribute(item, "ttl", "N")
    return Kept(
        lease_id=item["sk"]["S"],
        text=_attribute(item, "doc", "S"),
        expires_s=int(expires_s) if expires_s.isdecimal() else 0,
        link=_link(item),
        late=_late(item),
        erased_ms=erased_ms(item),
    )


def _link(item: Item) -> Link | None:
    chain, seq = _attribute(item, "chain", "S"), _attribute(item, "seq", "N")
    prev, hashed = _attribute(item, "prev", "B"), _attribute(item, "hash", "B")
    if not (chain and prev and hashed and seq.isdecimal() and int(seq) <= LONGEST):  # a head would mark every link
        return None
    return Link(chain, int(seq), prev, hashed)


def _late(item: Item) -> Units | None:
    try:
        return msgspec.json.decode(_attribute(item, "late", "S") or "null", type=Units | None)
    except msgspec.MsgspecError:
        return None


def _attribute(item: Item, name: str, kind: str) -> str:
    """The attribute; empty where there is none, or one of another kind."""
    found: str = item.get(name, {}).get(kind, "")
    return found


def _head(item: Item) -> SignedHead:
    return SignedHead(item["doc"]["S"], item["signature"]["S"])
