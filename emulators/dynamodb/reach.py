"""Which items an operation may look at, by what it says: single ones, a stretch of a table, or everything. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec
from moto.dynamodb.parsing.key_condition_expression import parse_expression

from emulators.dynamodb.ordered_keys import ordered
from emulators.dynamodb.rows import Key, Span

Body = Mapping[str, Any]

_GREATER_THAN_ALL = b"\xff"  # no key begins with it: the first byte is its type
_LONGEST_SORT_KEY = 1_024
# What touches no item. Whatever is not known here gets everything, which is slow and right.
_OF_TABLES = {
    "CreateTable", "DeleteTable", "DescribeContinuousBackups", "DescribeEndpoints", "DescribeLimits", "DescribeTable",
    "DescribeTimeToLive", "ListTables", "ListTagsOfResource", "TagResource", "UntagResource", "UpdateContinuousBackups",
    "UpdateTable", "UpdateTimeToLive",
}  # fmt: skip
_WRITES = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"}
_READS = {"GetItem", "BatchGetItem", "TransactGetItems", "Query", "Scan"}


class Schema(msgspec.Struct, frozen=True):
    """The names of a table's key attributes."""

    partition: str
    sort: str | None

    def key(self, item: Body) -> Key:
        """Raises KeyError where it has none."""
        return ordered(item[self.partition]), ordered(item[self.sort]) if self.sort else b""


Single = list[tuple[str, dict[str, Any]]]
"""Tables, and an item's key attributes, perhaps with others."""


def touches_items(operation: str) -> bool:
    return operation not in _OF_TABLES


def reads(operation: str) -> bool:
    """Changes neither items nor tables."""
    return operation in _READS or operation.startswith(("Describe", "List"))


def changes_items_alone(operation: str) -> bool:
    """And no table."""
    return operation in _WRITES


def single(operation: str, body: Body) -> Single | None:
    """The items that it names; None where it does not name them."""
    match operation:
        case "GetItem" | "UpdateItem" | "DeleteItem":
            return [(body["TableName"], body["Key"])]
        case "PutItem":
            return [(body["TableName"], body["Item"])]
        case "BatchGetItem":
            return [(table, key) for table, asked in body["RequestItems"].items() for key in asked["Keys"]]
        case "BatchWriteItem":
            return [
                (table, request["PutRequest"]["Item"] if "PutRequest" in request else request["DeleteRequest"]["Key"])
                for table, requests in body["RequestItems"].items()
                for request in requests
            ]
        case "TransactGetItems" | "TransactWriteItems":
            of_each = [one for asked in body["TransactItems"] for one in asked.values()]
            return [(one["TableName"], one["Item"] if "Item" in one else one["Key"]) for one in of_each]
    return None


def span(operation: str, body: Body, schema: Schema) -> Span | None:
    """The stretch that a Query or a Scan reads, and one item more, by which moto sees that more follows. None where it
    cannot be said so: of an index, of a segment, in the old form."""
    if operation not in ("Query", "Scan") or "IndexName" in body or "Segment" in body:
        return None
    started = body.get("ExclusiveStartKey")
    after = schema.key(started) if started else None
    most = body["Limit"] + 1 if isinstance(body.get("Limit"), int) else None
    if operation == "Scan":
        return Span(after=after, most=most)
    if "KeyConditionExpression" not in body:
        return None
    low, high = _between(body, schema)
    return Span(low, high, after, backward=body.get("ScanIndexForward") is False, most=most)


def _between(body: Body, schema: Schema) -> tuple[Key, Key]:
    """The least and the greatest key that fulfil the condition, or stand just outside: moto looks at each itself."""
    kinds = [(schema.partition, "HASH"), (schema.sort, "RANGE")]
    partitions, sorts, _ = parse_expression(
        key_condition_expression=body["KeyConditionExpression"],
        expression_attribute_names=body.get("ExpressionAttributeNames", {}),
        expression_attribute_values=body.get("ExpressionAttributeValues", {}),
        schema=[{"AttributeName": name, "KeyType": kind} for name, kind in kinds if name],
    )
    pk = ordered(partitions[0][1])
    low, high = b"", _GREATER_THAN_ALL
    for _, comparison, values in sorts:
        first = ordered(values[0])
        match comparison.upper():
            case "=":
                low = high = first
            case "<" | "<=":
                high = first
            case ">" | ">=":
                low = first
            case "BETWEEN":
                low, high = first, ordered(values[1])
            case "BEGINS_WITH":
                low, high = first, first + _GREATER_THAN_ALL * _LONGEST_SORT_KEY
    return (pk, low), (pk, high)
