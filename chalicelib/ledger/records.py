"""The seams behind which entries and first uses are kept."""

from typing import NamedTuple, Protocol

import msgspec

from chalicelib.ledger.chain import Link
from chalicelib.ledger.entry import Entry
from chalicelib.ledger.units import Units


class FirstUse(msgspec.Struct, frozen=True):
    """The request that an Idempotency-Key, or a sealed request, stands for."""

    digest: str  # of what must not come twice; never the thing itself
    lease_id: str
    claimed_ms: int


class Kept(msgspec.Struct, frozen=True):
    """An entry as it is kept: what was hashed, and where in its chain."""

    lease_id: str
    text: str  # the entry as JSON
    expires_s: int  # from then on it may be deleted
    link: Link | None  # None: written by code that did not chain yet
    late: Units | None = None  # came after it was hashed
    erased_ms: int | None = None  # since then it is a tombstone: `text` is empty, and its link stays for the chain

    @property
    def entry(self) -> Entry:
        """Of one that was not erased."""
        entry = msgspec.json.decode(self.text, type=Entry)
        return entry if self.late is None else msgspec.structs.replace(entry, late=self.late)


class KeptPage(NamedTuple):
    """As Page, of entries as they are kept."""

    kept: tuple[Kept, ...]
    cursor: str | None


class Page(NamedTuple):
    """Entries, newest first; `cursor` continues where they end, None at the end of all."""

    entries: tuple[Entry, ...]
    cursor: str | None


class Ledger(Protocol):
    """One immutable entry per admitted request. Every method may raise StoreUnavailable."""

    def put_if_absent(self, entry: Entry) -> Entry | None:
        """Write the entry, or return the one that is there already. What was erased is not written again."""

    def find(self, tenant: str, lease_id: str) -> Entry | None:
        """The entry, strongly consistent."""

    def note_late(self, tenant: str, lease_id: str, units: Units) -> None:
        """Record usage that arrived after the entry was written. The first note stays."""

    def page(self, tenant: str, since_ms: int, until_ms: int, cursor: str | None, limit: int) -> Page:
        """At most `limit` entries of requests that arrived in [since, until). Raises Malformed (the cursor)."""

    def kept(self, tenant: str, since_ms: int, until_ms: int, cursor: str | None, limit: int) -> KeptPage:
        """The same entries as they are kept, and tombstones of those that were erased, which no page has."""


class Log(Protocol):
    """Texts in hash chains, each under an id that sorts by time. Every method may raise StoreUnavailable."""

    def append(self, log: str, lease_id: str, text: str, at_ms: int, expires_s: int, /) -> Kept | None:
        """Write the text, or return what is there already."""

    def kept(self, log: str, since_ms: int, until_ms: int, cursor: str | None, limit: int, /) -> KeptPage:
        """As of Ledger: a tenant's ledger is one such log."""


class FirstUses(Protocol):
    """What must not come twice. Every method may raise StoreUnavailable."""

    def claim(self, tenant: str, digest: str, lease_id: str, now_ms: int, keep_ms: int) -> FirstUse | None:
        """Let the digest stand for this request; or return the first use that is there already, if not too old."""

    def replace(self, tenant: str, found: FirstUse, lease_id: str, now_ms: int, keep_ms: int) -> bool:
        """Let the digest stand for this request instead, if it still stands for the one found."""
