"""Tenancy documents in memory."""

from collections.abc import Iterable
from threading import Lock

import msgspec

from chalicelib.documents import Changed, Document


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
