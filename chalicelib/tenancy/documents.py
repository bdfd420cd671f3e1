"""Where tenancy documents are kept: one protocol, and its in-memory twin."""

from collections.abc import Iterable
from threading import Lock
from typing import Protocol

import msgspec


class Changed(Exception):
    """Somebody else wrote the document since it was read."""


class Document(msgspec.Struct, frozen=True):
    """JSON text under a tenant and a name, with the version it was read at (0: not stored yet)."""

    tenant: str
    name: str
    text: str
    version: int = 0


class Documents(Protocol):
    """All reads are strongly consistent. Every method may raise StoreUnavailable."""

    def get(self, tenant: str, name: str) -> Document | None:
        """The document, or None."""

    def put(self, document: Document) -> None:
        """Write it if the stored version is still the one it was read at. Raises Changed."""

    def delete(self, document: Document) -> None:
        """Remove it if the stored version is still the one it was read at. Raises Changed."""

    def under(self, tenant: str, prefix: str) -> Iterable[Document]:
        """The tenant's documents whose names begin so, by name."""

    def tenants(self) -> Iterable[Document]:
        """Every tenant's own document."""


class MemoryDocuments:
    """The twin of the DynamoDB store, for tests and for trying things out."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], Document] = {}
        self._lock = Lock()

    def get(self, tenant: str, name: str) -> Document | None:
        return self._held.get((tenant, name))

    def put(self, document: Document) -> None:
        place = (document.tenant, document.name)
        with self._lock:
            if self._version(place) != document.version:
                raise Changed
            self._held[place] = msgspec.structs.replace(document, version=document.version + 1)

    def delete(self, document: Document) -> None:
        place = (document.tenant, document.name)
        with self._lock:
            if self._version(place) != document.version:
                raise Changed
            self._held.pop(place, None)

    def under(self, tenant: str, prefix: str) -> Iterable[Document]:
        return [
            held for (_, name), held in sorted(self._held.items()) if held.tenant == tenant and name.startswith(prefix)
        ]

    def tenants(self) -> Iterable[Document]:
        return [held for (_, name), held in sorted(self._held.items()) if name == "tenant"]

    def _version(self, place: tuple[str, str]) -> int:
        held = self._held.get(place)
        return held.version if held else 0
