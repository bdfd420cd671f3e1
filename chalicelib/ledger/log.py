"""The audit log: entries as an auditor asks for them, within bounded work. Pure, but for the ledger it is given.

One question looks at no more than MOST_EXAMINED entries, newest first, however few of them match; a page that goes on
after another one, at one entry more than it shows, where nothing is filtered.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from chalicelib.ledger.entry import Audited, Entry
from chalicelib.ledger.records import Ledger

MOST_EXAMINED = 5_000
READ_AT_ONCE = 500
MOST_USED = 5


class Wanted(msgspec.Struct, frozen=True):
    """Which entries: of requests that arrived in [since, until), and what they must be. None: anything."""

    tenant: str
    since_ms: int
    until_ms: int
    model: str | None = None
    principal: str | None = None
    success: bool | None = None

    @property
    def everything(self) -> bool:
        """Whether each entry of the time matches."""
        return (self.model, self.principal, self.success) == (None, None, None)

    def matches(self, record: "Record") -> bool:
        return (
            self.model in (None, record.model)
            and self.principal in (None, record.principal)
            and self.success in (None, record.success)
        )


class Record(msgspec.Struct, frozen=True):
    """An entry, and what the audit calls its parts."""

    entry: Entry
    expires_s: int

    @property
    def audited(self) -> Audited:
        return self.entry.audited or Audited()

    @property
    def model(self) -> str:
        return self.audited.model_id or self.entry.pool

    @property
    def principal(self) -> str:
        return self.audited.user_arn or self.entry.subject

    @property
    def tokens_in(self) -> int | None:
        return self._tokens(self.entry.tokens_in, self.audited.tokens_in)

    @property
    def tokens_out(self) -> int | None:
        return self._tokens(self.entry.tokens_out, self.audited.tokens_out)

    def _tokens(self, told: int | None, audited: int) -> int | None:
        """As the entry tells; one from before it did may tell an audit. None: not known."""
        return audited if told is None and self.entry.audited is not None else told

    @property
    def success(self) -> bool:
        return self.entry.outcome == "completed"

    @property
    def latency_ms(self) -> int:
        return self.entry.settled_ms - self.entry.admitted_ms


class Found(msgspec.Struct, frozen=True):
    """Matching records, newest first; `cursor` continues where they end, None at the end of all."""

    records: tuple[Record, ...]
    cursor: str | None


class Share(msgspec.Struct, frozen=True):
    model: str
    count: int


class Totals(msgspec.Struct, frozen=True):
    """Of the matching entries among the newest that were examined; of all of them where `complete`."""

    count: int
    success_rate: float | None  # from 0 to 1; None, as the latencies, where there is nothing to say it of
    p50_latency_ms: int | None
    p95_latency_ms: int | None
    bytes: int  # in and out, where they are known
    most_used: tuple[Share, ...]
    complete: bool


def begin(ledger: Ledger, wanted: Wanted, limit: int) -> tuple[Found, Totals]:
    """The first page, and the totals: of one reading. Raises StoreUnavailable."""
    found = find(ledger, wanted, None, MOST_EXAMINED)
    told = totalled(found.records, complete=found.cursor is None)
    if len(found.records) <= limit:
        return found, told
    page = found.records[:limit]
    return Found(page, page[-1].entry.lease_id), told


def find(ledger: Ledger, wanted: Wanted, cursor: str | None, limit: int) -> Found:
    """At most `limit` matching records; fewer, and a cursor, where so many were not among those examined.

    Raises: Malformed (the cursor); StoreUnavailable.
    """
    records: list[Record] = []
    examined = 0
    while True:
        # One more than is wanted: a page that ends with the last entry has no cursor.
        at_once = min(limit - len(records) + 1, READ_AT_ONCE) if wanted.everything else READ_AT_ONCE
        read, more = ledger.kept(wanted.tenant, wanted.since_ms, wanted.until_ms, cursor, at_once)
        for kept in read:
            if kept.erased_ms is None and wanted.matches(record := Record(kept.entry, kept.expires_s)):
                records.append(record)
            if len(records) == limit:
                return Found(tuple(records), more if kept is read[-1] else kept.lease_id)
        examined += len(read)
        cursor = more
        if cursor is None or examined >= MOST_EXAMINED:
            return Found(tuple(records), cursor)


def totalled(records: Sequence[Record], *, complete: bool) -> Totals:
    latencies = sorted(record.latency_ms for record in records)
    used = Counter(record.model for record in records if record.model)
    return Totals(
        count=len(records),
        success_rate=round(sum(record.success for record in records) / len(records), 4) if records else None,
        p50_latency_ms=percentile(latencies, 50),
        p95_latency_ms=percentile(latencies, 95),
        bytes=sum(record.audited.request_bytes + record.audited.response_bytes for record in records),
        most_used=tuple(Share(model, count) for model, count in used.most_common(MOST_USED)),
        complete=complete,
    )


def percentile(ordered: Sequence[int], percent: int) -> int | None:
    """The smallest value that so many percent do not exceed (nearest rank)."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None
