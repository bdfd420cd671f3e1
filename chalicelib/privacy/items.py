"""The tables as they are: items of a tenant, of whatever kind, in DynamoDB's own form.

A scan sees every item of a table. It gives those that a tenant's id leads to: by their partition, or, of what stands
under no tenant, by a name that ends in it or has it in the middle, or a document that says it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from chalicelib.dynamodb import ConditionFailed, Item, Tables
from chalicelib.ledger.store import tombstone

TABLES = ("tenancy", "meters", "ledger", "contents", "heads", "usage")

_A_TENANTS = (
    "pk = :tenant OR begins_with(pk, :below) OR "
    "(begins_with(pk, :others) AND (contains(sk, :named) OR contains(#doc, :said)))"
)


class Page(NamedTuple):
    """Items, and the key after which the next ones are; None at the end."""

    items: list[Item]
    after: Item | None
    examined: int  # items that were looked at for it


class Items:
    """The items of one region. Raises StoreUnavailable."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def of(self, table: str, partition: str, after: Item | None) -> Page:
        """A page of a partition, in the order of its keys; strongly consistent."""
        return self._page(
            "Query",
            table,
            after,
            KeyConditionExpression="pk = :partition",
            ExpressionAttributeValues={":partition": {"S": partition}},
        )

    def everywhere(self, table: str, tenant: str, after: Item | None) -> Page:
        """Those of the tenant among the next ones of a whole table; strongly consistent."""
        return self._page(
            "Scan",
            table,
            after,
            FilterExpression=_A_TENANTS,
            ExpressionAttributeNames={"#doc": "doc"},
            ExpressionAttributeValues={
                ":tenant": {"S": tenant},
                ":below": {"S": f"{tenant}#"},
                ":others": {"S": "~"},
                ":named": {"S": f"#{tenant}"},
                ":said": {"S": f'"{tenant}"'},
            },
        )

    def delete(self, table: str, item: Item) -> None:
        self._tables.call("DeleteItem", TableName=self._tables.name(table), Key=_key(item))

    def bury(self, table: str, item: Item, now_ms: int) -> None:
        """Leave of an entry what its chain needs; of one without a chain, nothing."""
        left = tombstone(item, now_ms)
        if left is None:
            return self.delete(table, item)
        try:
            self._tables.call(
                "PutItem",
                TableName=self._tables.name(table),
                Item=left,
                ConditionExpression="attribute_exists(pk)",  # what DynamoDB has forgotten by now stays forgotten
            )
        except ConditionFailed:
            return None

    def _page(self, operation: str, table: str, after: Item | None, **asked: Any) -> Page:
        start: Mapping[str, Any] = {"ExclusiveStartKey": after} if after else {}
        answer = self._tables.call(operation, TableName=self._tables.name(table), ConsistentRead=True, **asked, **start)
        return Page(answer["Items"], answer.get("LastEvaluatedKey"), int(answer["ScannedCount"]))


def _key(item: Item) -> Item:
    return {name: item[name] for name in ("pk", "sk") if name in item}


def text_of(item: Item, name: str) -> str:
    """An attribute that is text; empty where there is none."""
    return str(item.get(name, {}).get("S", ""))
