"""The list of erasures: one document for each tenant whose data was to be erased. It outlasts the tenant.

| document           | under       | says                                                          |
|--------------------|-------------|---------------------------------------------------------------|
| `erasure#<tenant>` | `~platform` | Erasure: who asked when, how far it has come, and what it found |
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from chalicelib.documents import PLATFORM, Document, Documents
from chalicelib.refusal import NotFound

_PREFIX = "erasure#"

State = Literal["waiting", "erasing", "proving", "done"]
"""`waiting`: requests that were let in before may still end. `proving`: every table is looked through once more."""


class ScannedTable(msgspec.Struct, frozen=True):
    """A table that was looked through, from its first item to its last."""

    table: str
    region: str
    examined: int  # items, of whichever tenant


class Stays(msgspec.Struct, frozen=True):
    """What is kept, and why."""

    what: str
    count: int
    why: str


class Erasure(msgspec.Struct, frozen=True):
    """One erasure of a tenant's data. The members after `state` are where its next page of work begins."""

    tenant: str
    job: str
    by: Literal["owner", "operator"]
    asked_ms: int
    state: State = "waiting"
    place: int = 0  # among the places of work
    after: dict[str, Any] | None = None  # the key at which the place was left
    deleted: dict[str, int] = {}  # by kind
    stays: tuple[Stays, ...] = ()
    tables: tuple[ScannedTable, ...] = ()  # those that this proof has looked through, or begun
    unclean: bool = False  # this proof has found something
    unknown: tuple[str, ...] = ()  # keys of items of kinds that nobody here knows
    finished_ms: int | None = None
    receipt: str = ""  # the id of the key that may read this


class Erasures:
    """Raises StoreUnavailable."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def begin(self, erasure: Erasure) -> Erasure:
        """In place of whichever there was before. Raises Changed."""
        held = self._documents.get(PLATFORM, _name(erasure.tenant))
        self._documents.put(Document(PLATFORM, _name(erasure.tenant), _text(erasure), held.version if held else 0))
        return erasure

    def of(self, tenant: str) -> tuple[Erasure, Document]:
        """And the document that says it. Raises NotFound."""
        document = self._documents.get(PLATFORM, _name(tenant)) if len(tenant) <= 40 else None
        if document is None:
            raise NotFound("Nobody has asked for this tenant's data to be erased.")
        return _erasure(document), document

    def all(self) -> Sequence[Erasure]:
        return [_erasure(document) for document in self._documents.under(PLATFORM, _PREFIX)]

    def keep(self, erasure: Erasure, document: Document) -> Document:
        """In place of what was read. Raises Changed: another process is at it."""
        self._documents.put(msgspec.structs.replace(document, text=_text(erasure)))
        return msgspec.structs.replace(document, version=document.version + 1)


def _name(tenant: str) -> str:
    return f"{_PREFIX}{tenant}"


def _text(erasure: Erasure) -> str:
    return msgspec.json.encode(erasure).decode()


def _erasure(document: Document) -> Erasure:
    return msgspec.json.decode(document.text, type=Erasure)
