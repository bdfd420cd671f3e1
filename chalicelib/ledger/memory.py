"""Entries and claims in memory, one lock. For tests, and to try things out."""

import threading

import msgspec

from chalicelib.ledger.entry import Entry
from chalicelib.ledger.lease_id import since
from chalicelib.ledger.records import Claim, Page
from chalicelib.ledger.units import Units
from chalicelib.refusal import Malformed


class MemoryLedger:
    """Implements Ledger and Claims."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self._claims: dict[tuple[str, str], Claim] = {}
        self._lock = threading.Lock()

    def put_if_absent(self, entry: Entry) -> Entry | None:
        with self._lock:
            there = self._entries.setdefault((entry.tenant, entry.lease_id), entry)
            return None if there is entry else there

    def find(self, tenant: str, lease_id: str) -> Entry | None:
        with self._lock:
            return self._entries.get((tenant, lease_id))

    def note_late(self, tenant: str, lease_id: str, units: Units) -> None:
        with self._lock:
            entry = self._entries.get((tenant, lease_id))
            if entry is not None and entry.late is None:
                self._entries[tenant, lease_id] = msgspec.structs.replace(entry, late=units)

    def page(self, tenant: str, since_ms: int, until_ms: int, cursor: str | None, limit: int) -> Page:
        first, end = since(since_ms), since(until_ms)
        if cursor is not None and not (len(cursor) == 20 and first <= cursor < end):
            raise Malformed("`cursor` is not one that this query returned.", field="cursor")
        with self._lock:
            found = sorted(
                (
                    entry
                    for (owner, lease_id), entry in self._entries.items()
                    if owner == tenant and first <= lease_id < (cursor or end)
                ),
                key=lambda entry: entry.lease_id,
                reverse=True,
            )
        entries = tuple(found[:limit])
        return Page(entries, entries[-1].lease_id if len(found) > limit else None)

    def claim(self, tenant: str, digest: str, lease_id: str, now_ms: int, keep_ms: int) -> Claim | None:
        with self._lock:
            found = self._claims.get((tenant, digest))
            if found is None or found.claimed_ms <= now_ms - keep_ms:
                self._claims[tenant, digest] = Claim(digest, lease_id, now_ms)
                return None
            return None if found.lease_id == lease_id else found

    def replace(self, tenant: str, found: Claim, lease_id: str, now_ms: int, keep_ms: int) -> bool:  # noqa: ARG002  # here nothing is deleted by its age
        with self._lock:
            there = self._claims.get((tenant, found.digest))
            if there is None or there.lease_id not in (found.lease_id, lease_id):
                return False
            self._claims[tenant, found.digest] = Claim(found.digest, lease_id, now_ms)
            return True
