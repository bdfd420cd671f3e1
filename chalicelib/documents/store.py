"""Tenancy documents in DynamoDB."""

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from chalicelib.documents import Document
from chalicelib.dynamodb import Item, Tables

if TYPE_CHECKING:
    from chalicelib.documents.managed import ManagedDocuments


class DynamoDocuments:
    """Documents in the tenancy table. What requests wait for is read here; what changes and lists them is `managed`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def get(self, tenant: str, name: str) -> Document | None:
        key = {"pk": {"S": tenant}, "sk": {"S": name}}
        answer = self._tables.call("GetItem", TableName=self._tables.tenancy, Key=key, ConsistentRead=True)
        return _document(answer["Item"]) if answer.get("Item") else None

    def under(self, tenant: str, prefix: str) -> Iterable[Document]:
        pages = self._tables.pages(
            "Query",
            TableName=self._tables.tenancy,
            ConsistentRead=True,
            KeyConditionExpression="pk = :tenant AND begins_with(sk, :prefix)",
            ExpressionAttributeValues={":tenant": {"S": tenant}, ":prefix": {"S": prefix}},
        )
        return [_document(item) for page in pages for item in page["Items"]]

    def put(self, document: Document) -> None:
        self._managed.put(document)

    def delete(self, document: Document) -> None:
        self._managed.delete(document)

    def tenants(self) -> Iterable[Document]:
        return self._managed.tenants()

    @cached_property
    def _managed(self) -> "ManagedDocuments":
        # Not at the top: it loads PynamoDB, and who only reads does not wait for that.
        from chalicelib.documents.managed import ManagedDocuments

        return ManagedDocuments(self._tables)


def _document(item: Item) -> Document:
    return Document(item["pk"]["S"], item["sk"]["S"], item["doc"]["S"], int(item["version"]["N"]))
