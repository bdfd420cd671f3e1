"""Roll-ups in DynamoDB, in a table of their own.

    part    pk tenant, sk `<span>#<start>#<part>`   doc: its groups as JSON; parts, requests: N; ttl
    mark    pk `~usage`, sk `mark`                  doc: the Mark as JSON

`start` is as lease ids tell time, so that it sorts; `part` has three digits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from chalicelib.dynamodb import Complaint, ConditionFailed, Item, Tables
from chalicelib.ledger import Ledger
from chalicelib.ledger.lease_id import instant_of, since
from chalicelib.refusal import StoreUnavailable
from chalicelib.usage.reader import Usage
from chalicelib.usage.rollup import Part
from chalicelib.usage.rollups import Mark, NoUsageTable
from chalicelib.usage.times import Span

_MARK: Item = {"pk": {"S": "~usage"}, "sk": {"S": "mark"}}
_CHANCE = "0" * 10  # the half of a lease id that is not its time


class DynamoRollups:
    """Implements Rollups."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._table: str = tables.usage

    def put(self, part: Part) -> None:
        item = {
            "pk": {"S": part.tenant},
            "sk": {"S": f"{_from(part.span, part.start_ms)}#{part.number:03}"},
            "doc": {"S": part.text},
            "parts": {"N": str(part.parts)},
            "requests": {"N": str(part.requests)},
            "ttl": {"N": str(part.expires_s)},
        }
        try:
            self._call(
                "PutItem",
                Item=item,
                # The ledger only grows until it forgets: a count of fewer is an older one, or of what is left.
                ConditionExpression="attribute_not_exists(pk) OR #requests <= :requests",
                ExpressionAttributeNames={"#requests": "requests"},
                ExpressionAttributeValues={":requests": item["requests"]},
            )
        except ConditionFailed:
            return

    def last(self, tenant: str, span: Span) -> Part | None:
        between = _between(tenant, f"{span}#", f"{span}#~")
        items = self._call("Query", **between, ScanIndexForward=False, Limit=1)["Items"]
        return _part(items[0]) if items else None

    def read(self, tenant: str, span: Span, since_ms: int, until_ms: int) -> Iterator[Part]:
        if since_ms >= until_ms:
            return
        # `end` is shorter than every key of its bucket, and so before all of them.
        between = _between(tenant, _from(span, since_ms), _from(span, until_ms))
        with self._there():
            for page in self._tables.pages("Query", TableName=self._table, **between):
                yield from map(_part, page["Items"])

    def mark(self) -> Mark:
        item = self._call("GetItem", Key=_MARK, ConsistentRead=True).get("Item")
        return msgspec.json.decode(item["doc"]["S"], type=Mark) if item else Mark()

    def put_mark(self, mark: Mark) -> None:
        self._call("PutItem", Item={**_MARK, "doc": {"S": msgspec.json.encode(mark).decode()}})

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        with self._there():
            return self._tables.call(operation, TableName=self._table, **arguments)

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Raises NoUsageTable where the store says that there is none."""
        try:
            yield
        except StoreUnavailable as error:
            if isinstance(error.__cause__, Complaint) and error.__cause__.code == "ResourceNotFoundException":
                raise NoUsageTable(self._table) from error
            raise


def usage_in(tables: Tables, ledger: Ledger) -> Usage:
    """Usage of a deployment."""
    return Usage(ledger, DynamoRollups(tables))


def _between(tenant: str, first: str, end: str) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "pk = :tenant AND sk BETWEEN :first AND :end",
        "ExpressionAttributeValues": {":tenant": {"S": tenant}, ":first": {"S": first}, ":end": {"S": end}},
        "ConsistentRead": True,
    }


def _from(span: Span, start_ms: int) -> str:
    return f"{span}#{since(start_ms)}"


def _part(item: Item) -> Part:
    span, start, number = item["sk"]["S"].split("#")
    start_ms = instant_of(start + _CHANCE)
    assert start_ms is not None, item["sk"]
    return Part(
        item["pk"]["S"],
        msgspec.convert(span, Span),
        start_ms,
        int(number),
        int(item["parts"]["N"]),
        int(item["requests"]["N"]),
        item["doc"]["S"],
    )
