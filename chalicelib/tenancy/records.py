"""Values in documents, changed in the order that the package's text gives: first the document, then the epoch."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from chalicelib.admission import Epochs
from chalicelib.documents import Changed, Document, Documents
from chalicelib.refusal import Conflict, NotFound
from chalicelib.tenancy.tenant import Tenant

T = TypeVar("T", bound=msgspec.Struct)

LONGEST_NAME = 250
"""Characters of any tenant's id and the name of one of its documents, together."""


class Records:
    """Documents and epochs, as the rules of tenancy change them. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, documents: Documents, epochs: Epochs, on_change: Callable[[str], None]) -> None:
        """`on_change` is told of each tenant whose epoch has moved."""
        self._documents = documents
        self._epochs = epochs
        self._on_change = on_change

    # Names come from paths. One that is longer than any stored one is not worth an error of the store.

    def held(self, tenant: str, name: str) -> Document | None:
        return self._documents.get(tenant, name) if len(tenant) + len(name) <= LONGEST_NAME else None

    def under(self, tenant: str, prefix: str) -> Iterable[Document]:
        return self._documents.under(tenant, prefix) if len(tenant) + len(prefix) <= LONGEST_NAME else ()

    def tenants(self) -> Iterable[Document]:
        return self._documents.tenants()

    def get(self, tenant: str, name: str, what: str) -> Document:
        document = self.held(tenant, name)
        if document is None:
            raise NotFound(f"There is no {what}.")
        return document

    def create(self, document: Document, what: str) -> None:
        try:
            self._documents.put(document)
        except Changed:
            raise Conflict(f"{what[0].upper()}{what[1:]} exists already.") from None

    def write(self, document: Document) -> None:
        try:
            self._documents.put(document)
        except Changed:
            raise Conflict("Somebody else changed this at the same time. Read it again, then repeat.") from None

    def delete(self, document: Document) -> None:
        try:
            self._documents.delete(document)
        except Changed:
            raise Conflict("Somebody else changed this at the same time. Read it again, then repeat.") from None

    def replace(self, document: Document, value: msgspec.Struct) -> None:
        """Write another value into the document, and move its tenant's epoch, whatever became of the write."""
        try:
            self.write(msgspec.structs.replace(document, text=text(value)))
        finally:
            self.bump(document.tenant)

    def change_tenant(self, tenant_id: str, changed: Callable[[Tenant], Tenant]) -> Tenant:
        """Write what `changed` makes of the tenant, unless it raises, and move its epoch. Raises NotFound, Conflict."""
        document = self.get(tenant_id, "tenant", f"tenant {tenant_id}")
        tenant = changed(value(document, Tenant))
        self.replace(document, tenant)
        return tenant

    def bump(self, tenant: str) -> None:
        self._epochs.bump(tenant)
        self._on_change(tenant)

    def open(self, tenant: str, now_ms: int) -> None:
        self._epochs.open(tenant, now_ms)


def text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()


def value(document: Document, form: type[T]) -> T:
    return msgspec.json.decode(document.text, type=form)
