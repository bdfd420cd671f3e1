"""Books and shards in DynamoDB, in the table of meters.

tenant#region          shard 0: the tenant's meter (../store.py), and
    epoch   N  the stamp of its shares, below zero
    sh      S  its shares, as book.py writes them
tenant#3#region        shard 3, the same
tenant#book#region     the book
    version N
    doc     S  Book, as JSON: a new member with a default runs against yesterday's table
"""

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

import msgspec

from chalicelib.admission.decision import New, Same
from chalicelib.admission.shares.book import UNSHARED, Book, Shard, meter_of, read, written
from chalicelib.admission.shares.sync import AtRest, Bound, Crowd, Rescaled, Sync
from chalicelib.admission.store import BUSY, IDLE, MAPS, NEW, SAME, SAME_EPOCH, meter_in
from chalicelib.dynamodb import ConditionFailed, Item, Tables
from chalicelib.refusal import StoreUnavailable

# Made once.
ABSENT: Final = "attribute_not_exists(pk)"
# Each later book replaces the one that it was made from.
NEXT_VERSION: Final = "version = :before"
# What is given back was not used by anybody else meanwhile.
CROWD: Final = "size(held) <= :crowd AND size(leases) <= :plain"
CROWD_PLAIN: Final = "attribute_not_exists(held) AND size(leases) <= :plain"

_SETS: Final = {"R": "tats.#s{i} = :tat{i}", "N": "windows.#s{i} = :new{i}"}
_BRANCHES: Final = {"A": IDLE, "B": BUSY, "R": BUSY, "S": SAME, "N": NEW}
_TRIES: Final = 5
"""Of a read of many items, of which DynamoDB may leave some out when it is busy."""

_decode = msgspec.json.Decoder(Book).decode
_encode = msgspec.json.Encoder().encode


class DynamoKeeping:
    """Implements Keeping."""

    def __init__(self, tables: Tables, region: str) -> None:
        self._tables = tables
        self._table: str = tables.meters
        self._suffix = f"#{region}"

    def book(self, tenant: str) -> Book | None:
        answer = self._tables.call("GetItem", TableName=self._table, Key=self._book_key(tenant), ConsistentRead=True)
        return _decode(answer["Item"]["doc"]["S"]) if answer.get("Item") else None

    def put(self, tenant: str, book: Book) -> bool:
        version, before = {"N": str(book.version)}, {}
        if book.version > 1:
            before = {":before": {"N": str(book.version - 1)}}
        none: Item = {":leases": {"M": {}}, ":held": {"M": {}}}
        values = {":version": version, ":doc": {"S": _encode(book).decode()}, **none}
        try:
            self._tables.call(
                "UpdateItem",
                TableName=self._table,
                Key=self._book_key(tenant),
                ConditionExpression=NEXT_VERSION if book.version > 1 else ABSENT,
                UpdateExpression="SET version = :version, doc = :doc, leases = :leases, held = :held",
                ExpressionAttributeValues={**values, **before},
            )
        except ConditionFailed:
            # A repeated write finds the first one's.
            return self.book(tenant) == book
        return True

    def look(self, tenant: str, numbers: Iterable[int]) -> dict[int, Shard]:
        wanted = {tenant_key: number for number in numbers for tenant_key in (self._key(meter_of(tenant, number)),)}
        keys = [{"pk": {"S": key}} for key in wanted]
        found: dict[int, Shard] = {}
        for _ in range(_TRIES):
            request = {self._table: {"Keys": keys, "ConsistentRead": True}}
            answer = self._tables.call("BatchGetItem", RequestItems=request)
            for item in answer["Responses"].get(self._table, ()):
                number = wanted[item["pk"]["S"]]
                share = read(item["sh"]["S"]) if "sh" in item else ({}, {}, frozenset[str]())
                found[number] = Shard(number, *share, meter_in(item))
            keys = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            if not keys:
                return found
        raise StoreUnavailable("UnprocessedKeys")

    def make(self, tenant: str, number: int) -> None:
        with suppress(ConditionFailed):
            self._tables.call(
                "UpdateItem",
                TableName=self._table,
                Key={"pk": {"S": self._key(meter_of(tenant, number))}},
                ConditionExpression=ABSENT,
                UpdateExpression=f"SET epoch = :epoch, {', '.join(f'{member} = :{member}' for member in MAPS)}",
                ExpressionAttributeValues={
                    ":epoch": {"N": str(UNSHARED)},
                    **{f":{member}": {"M": {}} for member in MAPS},
                },
            )

    def sync(self, sync: Sync) -> bool:
        divided = sync.stamp < 0
        names: dict[str, str] = {}
        values: Item = {":epoch": {"N": str(sync.seen)}, ":stamp": {"N": str(sync.stamp)}}
        if divided:
            values[":sh"] = {"S": written(sync.granted, sync.returned, sync.held)}
        shape = "".join([_bind(bound, i, names, values) for i, bound in enumerate(sync.bounds)])
        condition, update = _expressions(shape, divided)
        arguments: dict[str, Any] = {"ExpressionAttributeNames": names} if names else {}
        try:
            self._tables.call(
                "UpdateItem",
                TableName=self._table,
                Key={"pk": {"S": self._key(sync.meter)}},
                ConditionExpression=condition,
                UpdateExpression=update,
                ExpressionAttributeValues=values,
                **arguments,
            )
        except ConditionFailed:
            return False
        return True

    def _key(self, name: str) -> str:
        return name + self._suffix

    def _book_key(self, tenant: str) -> Item:
        return {"pk": {"S": self._key(f"{tenant}#book")}}


def _bind(bound: Bound, i: int, names: dict[str, str], values: Item) -> str:
    """Add the bound's names and values; returns the letter of its clauses."""
    match bound:
        case Crowd():
            values[":plain"] = {"N": str(bound.plain)}
            if not bound.sets:
                return "p"
            values[":crowd"] = {"N": str(bound.most - bound.plain)}
            return "c"
        case AtRest():
            letter = "A"
            values[f":floor{i}"] = {"N": str(bound.floor_us)}
        case Rescaled():
            letter = "B" if bound.tat_us is None else "R"
            values[f":floor{i}"] = {"N": str(bound.floor_us)}
            values[f":ceiling{i}"] = {"N": str(bound.ceiling_us)}
            if bound.tat_us is not None:
                values[f":tat{i}"] = {"N": str(bound.tat_us)}
        case Same():
            letter = "S"
            values[f":window{i}"] = {"S": bound.window}
            values[f":room{i}"] = {"N": str(bound.room)}
        case New():
            letter = "N"
            values[f":window{i}"] = {"S": bound.window}
            values[f":new{i}"] = {"M": {"w": {"S": bound.window}, "n": {"N": str(bound.units)}}}
    names[f"#s{i}"] = bound.key
    return letter


@lru_cache(maxsize=1024)
def _expressions(shape: str, divided: bool) -> tuple[str, str]:
    """Condition and update of a write with these bounds."""
    clauses = [SAME_EPOCH]
    sets = ["epoch = :stamp", *(["sh = :sh"] if divided else [])]
    for i, letter in enumerate(shape):
        if letter in "cp":
            clauses.append(CROWD if letter == "c" else CROWD_PLAIN)
            continue
        clauses.append(_BRANCHES[letter].format(i=i))
        if letter in _SETS:
            sets.append(_SETS[letter].format(i=i))
    return " AND ".join(clauses), "SET " + ", ".join(sets) + ("" if divided else " REMOVE sh")
