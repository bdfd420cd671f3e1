"""The versioned store under tenancy: documents by tenant and name, behind one seam.

store     in DynamoDB, as requests read it       managed   as it is changed and listed
memory    its twin
"""

from collections.abc import Iterable
from typing import Protocol

import msgspec

PLATFORM = "~platform"
"""Under it is what concerns all tenants; `~` cannot occur in a tenant's id."""


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
