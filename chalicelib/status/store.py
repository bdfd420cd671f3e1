"""Days of samples in DynamoDB, in the ledger's table, which forgets by itself.

day    pk ~status#<region>, sk <day>    doc: Day, as JSON; seq: its version; ttl
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from chalicelib.dynamodb import ConditionFailed, Tables
from chalicelib.status.minutes import DAY_MS, start_ms
from chalicelib.status.samples import KEPT_DAYS, Day, Overtaken


class DynamoDays:
    """Implements Days."""

    def __init__(self, tables: Tables, region: str) -> None:
        self._tables = tables
        self._pk = {"S": f"~status#{region}"}

    def get(self, day: str) -> tuple[Day, int]:
        key = {"pk": self._pk, "sk": {"S": day}}
        answer = self._tables.call("GetItem", TableName=self._tables.ledger, Key=key, ConsistentRead=True)
        item = answer.get("Item")
        return (_day(item), int(item["seq"]["N"])) if item else (Day(), 0)

    def put(self, day: str, changed: Day, version: int) -> None:
        item = {
            "pk": self._pk,
            "sk": {"S": day},
            "doc": {"S": msgspec.json.encode(changed).decode()},
            "seq": {"N": str(version + 1)},
            "ttl": {"N": str(_kept_until_s(day))},
        }
        # What was read is still there: nobody's sample is lost to somebody else's.
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(seq)"}
        if version:
            condition = {
                "ConditionExpression": "seq = :version",
                "ExpressionAttributeValues": {":version": {"N": str(version)}},
            }
        try:
            self._tables.call("PutItem", TableName=self._tables.ledger, Item=item, **condition)
        except ConditionFailed:
            raise Overtaken from None

    def between(self, first: str, last: str) -> Mapping[str, Day]:
        pages = self._tables.pages(
            "Query",
            TableName=self._tables.ledger,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues={":pk": self._pk, ":first": {"S": first}, ":last": {"S": last}},
        )
        return {item["sk"]["S"]: _day(item) for page in pages for item in page["Items"]}


def _day(item: Mapping[str, Any]) -> Day:
    return msgspec.json.decode(item["doc"]["S"], type=Day)


def _kept_until_s(day: str) -> int:
    return (start_ms(day) + (KEPT_DAYS + 1) * DAY_MS) // 1_000
