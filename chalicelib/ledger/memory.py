"""Entries, first uses and heads in memory, one lock. For tests, and to try things out."""

import secrets
import threading
from collections.abc import Callable

import msgspec

from chalicelib.clock import Clock
from chalicelib.ledger.chain import Chains, day_of, salted
from chalicelib.ledger.entry import Entry
from chalicelib.ledger.head import SignedHead
from chalicelib.ledger.heads import HeadPage
from chalicelib.ledger.lateness import LATE_MS, MINUTE_MS, Late, late_of
from chalicelib.ledger.lease_id import since
from chalicelib.ledger.records import FirstUse, Kept, KeptPage, Page
from chalicelib.ledger.units import Units
from chalicelib.refusal import Malformed

RETENTION_S = 30 * 86_400


class MemoryLedger:
    """Implements Ledger, FirstUses, Log and Lates."""

    def __init__(self, chance: Callable[[int], bytes] = secrets.token_bytes, clock: Clock | None = None) -> None:
        """`clock`: without one, no entry is late."""
        self._clock = clock
        self._late: list[tuple[int, Late]] = []
        self._entries: dict[tuple[str, str], Kept] = {}
        self._first_uses: dict[tuple[str, str], FirstUse] = {}
        self._chains = Chains(chance)
        self._chance = chance
        self._lock = threading.Lock()

    def put_if_absent(self, entry: Entry) -> Entry | None:
        if self._clock is not None and (now_ms := self._clock()) - entry.admitted_ms > LATE_MS:
            with self._lock:
                self._late.append((now_ms, late_of(entry)))
        text = msgspec.json.encode(entry).decode()
        expires_s = entry.settled_ms // 1_000 + RETENTION_S
        there = self.append(entry.tenant, entry.lease_id, text, entry.admitted_ms, expires_s)
        return there.entry if there and there.erased_ms is None else None

    def append(self, log: str, lease_id: str, text: str, at_ms: int, expires_s: int) -> Kept | None:
        day, text = day_of(at_ms), salted(text, self._chance)
        with self._lock:
            there = self._entries.get((log, lease_id))
            if there is not None:
                return there
            link = self._chains.borrow(log, day).linked(text, expires_s)
            self._entries[log, lease_id] = Kept(lease_id, text, expires_s, link)
        self._chains.give_back(log, day, link.end)
        return None

    def find(self, tenant: str, lease_id: str) -> Entry | None:
        with self._lock:
            kept = self._entries.get((tenant, lease_id))
        return kept.entry if kept and kept.erased_ms is None else None

    def late(self, since_ms: int, until_ms: int) -> list[Late]:
        with self._lock:
            return sorted({late for at_ms, late in self._late if since_ms - MINUTE_MS < at_ms < until_ms})

    def note_late(self, tenant: str, lease_id: str, units: Units) -> None:
        with self._lock:
            kept = self._entries.get((tenant, lease_id))
            if kept is not None and kept.late is None:
                self._entries[tenant, lease_id] = msgspec.structs.replace(kept, late=units)

    def page(self, tenant: str, since_ms: int, until_ms: int, cursor: str | None, limit: int) -> Page:
        found, after = self.kept(tenant, since_ms, until_ms, cursor, limit)
        return Page(tuple(kept.entry for kept in found if kept.erased_ms is None), after)

    def kept(self, tenant: str, since_ms: int, until_ms: int, cursor: str | None, limit: int) -> KeptPage:
        first, end = since(since_ms), since(until_ms)
        if cursor is not None and not (len(cursor) == 20 and first <= cursor < end):
            raise Malformed("`cursor` is not one that this query returned.", field="cursor")
        with self._lock:
            found = sorted(
                (
                    kept
                    for (owner, lease_id), kept in self._entries.items()
                    if owner == tenant and first <= lease_id < (cursor or end)
                ),
                key=lambda kept: kept.lease_id,
                reverse=True,
            )
        return KeptPage(tuple(found[:limit]), found[limit - 1].lease_id if len(found) > limit else None)

    def claim(self, tenant: str, digest: str, lease_id: str, now_ms: int, keep_ms: int) -> FirstUse | None:
        with self._lock:
            found = self._first_uses.get((tenant, digest))
            if found is None or found.claimed_ms <= now_ms - keep_ms:
                self._first_uses[tenant, digest] = FirstUse(digest, lease_id, now_ms)
                return None
            return None if found.lease_id == lease_id else found

    def replace(self, tenant: str, found: FirstUse, lease_id: str, now_ms: int, keep_ms: int) -> bool:  # noqa: ARG002  # here nothing is deleted by its age
        with self._lock:
            there = self._first_uses.get((tenant, found.digest))
            if there is None or there.lease_id not in (found.lease_id, lease_id):
                return False
            self._first_uses[tenant, found.digest] = FirstUse(found.digest, lease_id, now_ms)
            return True


class MemoryHeads:
    """Implements Heads."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, str], SignedHead] = {}
        self._lock = threading.Lock()

    def put_if_absent(self, tenant: str, place: str, head: SignedHead) -> bool:
        with self._lock:
            return self._heads.setdefault((tenant, place), head) is head

    def last(self, tenant: str) -> SignedHead | None:
        with self._lock:
            places = sorted(place for owner, place in self._heads if owner == tenant)
            return self._heads[tenant, places[-1]] if places else None

    def page(self, tenant: str, first: str, end: str, cursor: str | None, limit: int) -> HeadPage:
        after = cursor or ""
        with self._lock:
            places = sorted(
                place for owner, place in self._heads if owner == tenant and first <= place < end and place > after
            )
            heads = tuple(self._heads[tenant, place] for place in places[:limit])
        return HeadPage(heads, places[limit - 1] if len(places) > limit else None)
