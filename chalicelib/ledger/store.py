"""Entries and claims in DynamoDB.

    entry   pk tenant, sk lease id       doc: the entry as JSON; late: units as JSON, once noted; ttl
    claim   pk tenant, sk idem#<digest>  lease: lease id; claimed: N milliseconds; ttl

Lease ids begin with a digit, so claims never come between entries in a query by time.
"""

import re
from typing import Any

import msgspec

from chalicelib.ledger.entry import Entry
from chalicelib.ledger.lease_id import since
from chalicelib.ledger.records import Claim, Page
from chalicelib.ledger.units import Units
from chalicelib.refusal import Malformed
from chalicelib.tables import ConditionFailed, Item, Tables

DAY_S = 86_400
_CURSOR = re.compile(r"[0-9a-z]{20}")


class DynamoLedger:
    """Implements Ledger and Claims. Entries are kept for `retention_days` after their settlement."""

    def __init__(self, tables: Tables, retention_days: int = 30) -> None:
        self._tables = tables
        self._table: str = tables.ledger.Meta.table_name
        self._retention_s = retention_days * DAY_S

    def put_if_absent(self, entry: Entry) -> Entry | None:
        item = {
            **_key(entry.tenant, entry.lease_id),
            "doc": {"S": msgspec.json.encode(entry).decode()},
            "ttl": {"N": str(entry.settled_ms // 1_000 + self._retention_s)},
        }
        try:
            self._put(item, "attribute_not_exists(pk)", {}, {})
        except ConditionFailed as failed:
            return _entry(failed.old)
        return None

    def find(self, tenant: str, lease_id: str) -> Entry | None:
        answer = self._tables.call("GetItem", TableName=self._table, Key=_key(tenant, lease_id), ConsistentRead=True)
        return _entry(answer["Item"]) if answer.get("Item") else None

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
        return Page(tuple(_entry(item) for item in answer["Items"]), after["sk"]["S"] if after else None)

    def claim(self, tenant: str, digest: str, lease_id: str, now_ms: int, keep_ms: int) -> Claim | None:
        try:
            self._put(
                _claim_item(tenant, digest, lease_id, now_ms, keep_ms),
                # DynamoDB deletes by ttl when it finds the time; until then the item must not count.
                "attribute_not_exists(pk) OR claimed <= :old",
                {},
                {":old": {"N": str(now_ms - keep_ms)}},
            )
        except ConditionFailed as failed:
            found = Claim(digest, failed.old["lease"]["S"], int(failed.old["claimed"]["N"]))
            # Ours: the transport repeated the write.
            return None if found.lease_id == lease_id else found
        return None

    def replace(self, tenant: str, found: Claim, lease_id: str, now_ms: int, keep_ms: int) -> bool:
        try:
            self._put(
                _claim_item(tenant, found.digest, lease_id, now_ms, keep_ms),
                "#lease = :found",
                {"#lease": "lease"},
                {":found": {"S": found.lease_id}},
            )
        except ConditionFailed as failed:
            return bool(failed.old) and failed.old["lease"]["S"] == lease_id
        return True

    def _put(self, item: Item, condition: str, names: dict[str, str], values: Item) -> None:
        arguments: dict[str, Any] = {}
        if names:
            arguments["ExpressionAttributeNames"] = names
        if values:
            arguments["ExpressionAttributeValues"] = values
        self._tables.call(
            "PutItem",
            TableName=self._table,
            Item=item,
            ConditionExpression=condition,
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **arguments,
        )


def _key(tenant: str, sort: str) -> Item:
    return {"pk": {"S": tenant}, "sk": {"S": sort}}


def _claim_item(tenant: str, digest: str, lease_id: str, now_ms: int, keep_ms: int) -> Item:
    return {
        **_key(tenant, f"idem#{digest}"),
        "lease": {"S": lease_id},
        "claimed": {"N": str(now_ms)},
        "ttl": {"N": str((now_ms + keep_ms) // 1_000)},
    }


def _entry(item: Item) -> Entry:
    entry = msgspec.json.decode(item["doc"]["S"], type=Entry)
    if "late" in item:
        return msgspec.structs.replace(entry, late=msgspec.json.decode(item["late"]["S"], type=Units))
    return entry
