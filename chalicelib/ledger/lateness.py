"""Entries that come so late that somebody may have counted their hour before: each is marked, before it is written.

Nearly every entry is there within a quarter of an hour of its admission: no stream lasts longer. Later are
those of a reaper, or of a settlement, that had to wait for a store that was down.
"""

from collections.abc import Collection
from typing import Protocol

import msgspec

from chalicelib.ledger.entry import Entry

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

LATE_MS = 16 * MINUTE_MS
"""After its admission. Lambda ends a stream after 15 minutes (docs/deployment.md)."""

MARKS_S = 8 * 86_400
"""How long marks are kept."""


class Late(msgspec.Struct, frozen=True, order=True):
    """An hour of a tenant's ledger that got, or was about to get, an entry late."""

    tenant: str
    hour_ms: int  # its first instant


def late_of(entry: Entry) -> Late:
    return Late(entry.tenant, entry.admitted_ms - entry.admitted_ms % HOUR_MS)


class Lates(Protocol):
    """Marks of late entries."""

    def late(self, since_ms: int, until_ms: int) -> Collection[Late]:
        """What was marked in [since, until), to the minute; each once, in order. Raises StoreUnavailable."""
