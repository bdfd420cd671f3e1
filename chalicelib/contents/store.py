"""Pieces of contents in DynamoDB: pk tenant, sk `<content>#<name>`, data (B), ttl (N, seconds).

DynamoDB deletes what is past its ttl sooner or later, and until then whoever reads it looks at that first.
"""

import base64
from typing import Any

from chalicelib.contents.pieces import Piece, Taken
from chalicelib.dynamodb import ConditionFailed, Item, Tables


class DynamoPieces:
    """Implements Pieces."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._table: str = tables.contents

    def claim(self, head: Piece, now_s: int) -> None:
        try:
            self._put(
                head,
                # One that has expired does not count, though it may still be there for days.
                ConditionExpression="attribute_not_exists(pk) OR #ttl <= :now",
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues={":now": {"N": str(now_s)}},
            )
        except ConditionFailed:
            raise Taken from None

    def put(self, piece: Piece) -> None:
        self._put(piece)

    def of(self, tenant: str, content: str) -> list[Piece]:
        pages = self._tables.pages(
            "Query",
            TableName=self._table,
            ConsistentRead=True,
            KeyConditionExpression="pk = :tenant AND begins_with(sk, :content)",
            ExpressionAttributeValues={":tenant": {"S": tenant}, ":content": {"S": f"{content}#"}},
        )
        return [_piece(item) for page in pages for item in page["Items"]]

    def delete(self, piece: Piece) -> None:
        self._tables.call("DeleteItem", TableName=self._table, Key=_key(piece))

    def _put(self, piece: Piece, **condition: Any) -> None:
        item = {
            **_key(piece),
            "data": {"B": base64.b64encode(piece.data).decode()},
            "ttl": {"N": str(piece.expires_s)},
        }
        self._tables.call("PutItem", TableName=self._table, Item=item, **condition)


def _key(piece: Piece) -> Item:
    return {"pk": {"S": piece.tenant}, "sk": {"S": f"{piece.content}#{piece.name}"}}


def _piece(item: Item) -> Piece:
    content, _, name = item["sk"]["S"].partition("#")
    return Piece(item["pk"]["S"], content, name, base64.b64decode(item["data"]["B"]), int(item["ttl"]["N"]))
