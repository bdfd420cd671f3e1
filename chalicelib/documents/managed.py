"""Tenancy documents, changed and listed by PynamoDB."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pynamodb.exceptions import DeleteError, PutError, PynamoDBException

from chalicelib.documents import Changed, Document
from chalicelib.dynamodb import Tables
from chalicelib.refusal import StoreUnavailable
from chalicelib.tables import TenancyItem, models_of


class ManagedDocuments:
    """That part of Documents for which no call of a model waits; optimistic locking by PynamoDB's version attribute."""

    def __init__(self, tables: Tables) -> None:
        self._items = models_of(tables).tenancy

    def put(self, document: Document) -> None:
        with _faults():
            self._item(document).save()

    def delete(self, document: Document) -> None:
        with _faults():
            self._item(document).delete()

    def tenants(self) -> Iterable[Document]:
        with _faults():
            # Not by an index, which may lag: a tenant that is missed when a pool changes would keep the old one.
            return [_document(item) for item in self._items.scan(self._items.sk == "tenant", consistent_read=True)]

    def _item(self, document: Document) -> TenancyItem:
        item = self._items(document.tenant, document.name, doc=document.text)
        if document.version:
            item.version = document.version
        return item


def _document(item: TenancyItem) -> Document:
    return Document(tenant=item.pk, name=item.sk, text=item.doc, version=int(item.version))


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except (PutError, DeleteError) as error:
        if error.cause_response_code == "ConditionalCheckFailedException":
            raise Changed from None
        raise StoreUnavailable(str(error.cause_response_code)) from error
    except PynamoDBException as error:
        raise StoreUnavailable(str(error.cause_response_code)) from error
