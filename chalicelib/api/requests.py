"""A tenant's ledger, entry by entry."""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.doors import Reply
from chalicelib.http.incoming import Incoming
from chalicelib.http.instants import Instant, instant, written
from chalicelib.http.spreadsheet import CSV, MOST_ROWS, as_file, must_have_no_pages, row
from chalicelib.http.surface import Surface
from chalicelib.ledger import Entry
from chalicelib.refusal import Malformed

programs = Surface(__name__, "management", title="Usage", prefix="/tenants/{tenant}/v1", auth="key")
surface = Surface(__name__, "management", title="Tenant", prefix="/tenants/{tenant}", auth="key")

DAY_MS = 86_400_000
LAST_MS = 10**15
"""Some time in the year 33658; ids of requests sort by their time until a little later."""

READ_AT_ONCE = 500
Form = Literal["json", "csv"]
Limit = Annotated[int, msgspec.Meta(ge=1, le=100)]


class LedgerQuery(msgspec.Struct, frozen=True):
    """Which entries, of requests that came from `since_ms` to `until_ms`; `cursor` comes from the page before."""

    since_ms: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)] | None = None
    until_ms: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)] | None = None
    limit: Limit = 50
    cursor: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class RequestsQuery(LedgerQuery, frozen=True):
    """Which entries, of requests that came from `since_ms` to `until_ms`; `cursor` comes from the page before.

    After a CSV, it is the `lease_id` of its last row.
    """

    format: Form = "json"


class RequestsBetween(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """Which entries, of requests that came from `from` to before `to` (ISO 8601; UTC where no offset is given).

    `cursor` comes from the page before; after a CSV, it is the `lease_id` of its last row.
    """

    since: Instant | None = None
    until: Instant | None = None
    limit: Limit = 50
    cursor: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    format: Form = "json"


class LedgerPage(msgspec.Struct, frozen=True):
    """Newest first; a `cursor` where there are more."""

    entries: tuple[Entry, ...]
    cursor: str | None


@programs.door(
    "GET", "/tenants/{tenant}/v1/requests", permission="usage.read",
    summary="The ledger, newest first", query=RequestsBetween, returns=LedgerPage, other_forms=CSV,
)  # fmt: skip
def list_entries(asked: Incoming, caller: Caller) -> LedgerPage | Reply:
    """An entry for each admitted request: what was used and charged."""
    query = asked.query_as(RequestsBetween)
    since_ms = None if query.since is None else instant(query.since, "from")
    until_ms = None if query.until is None else instant(query.until, "to")
    return _entries(asked, caller, _times(since_ms, until_ms, "from", "to"), query)


@surface.door(
    "GET", "/tenants/{tenant}/requests", permission="usage.read",
    summary="The ledger, newest first", query=RequestsQuery, returns=LedgerPage, other_forms=CSV,
)  # fmt: skip
def list_requests(asked: Incoming, caller: Caller) -> LedgerPage | Reply:
    """An entry for each admitted request: what was used and charged."""
    query = asked.query_as(RequestsQuery)
    return _entries(asked, caller, times_of(query), query)


def page_of(tenant: str, asked: Incoming) -> LedgerPage:
    """Of a tenant's ledger, as the query asks. Raises Malformed, StoreUnavailable."""
    query = asked.query_as(LedgerQuery)
    return _page(tenant, times_of(query), query)


def times_of(query: LedgerQuery) -> tuple[int, int]:
    """From when, and until when. Raises Malformed."""
    return _times(query.since_ms, query.until_ms, "since_ms", "until_ms")


def _times(since_ms: int | None, until_ms: int | None, since: str, until: str) -> tuple[int, int]:
    """The same, by those names."""
    until_ms = until_ms if until_ms is not None else wiring.path().clock() + DAY_MS
    since_ms = since_ms or 0
    if since_ms > until_ms:
        raise Malformed(f"{since} is later than {until}.", field=since)
    return since_ms, until_ms


_COLUMNS = (
    *("lease_id", "request_id", "admitted", "settled", "outcome", "reason", "subject", "key", "member", "pool"),
    *("target", "operation", "streamed", "sealed", "region", "tokens_in", "tokens_out", "tokens_cached"),
    *("charged_requests", "charged_tokens", "charged_micro_usd", "charged_gpu_ms"),
)


def _entries(
    asked: Incoming, caller: Caller, times: tuple[int, int], query: RequestsQuery | RequestsBetween
) -> LedgerPage | Reply:
    tenant = caller.principal.tenant
    if query.format == "csv":
        must_have_no_pages(asked)
        return as_file(f"requests-{tenant}", _COLUMNS, _entry_lines(tenant, times, query.cursor))
    return _page(tenant, times, query)


def _page(tenant: str, times: tuple[int, int], query: LedgerQuery | RequestsBetween) -> LedgerPage:
    page = wiring.path().ledger.page(tenant, *times, query.cursor, query.limit)
    return LedgerPage(page.entries, page.cursor)


def _entry_lines(tenant: str, times: tuple[int, int], cursor: str | None) -> Iterator[bytes]:
    for _ in range(MOST_ROWS // READ_AT_ONCE):
        entries, cursor = wiring.path().ledger.page(tenant, *times, cursor, READ_AT_ONCE)
        yield b"".join(map(_entry_line, entries))
        if cursor is None:
            return


def _entry_line(entry: Entry) -> bytes:
    charged = entry.charged
    return row(
        [
            *(entry.lease_id, entry.request_id, written(entry.admitted_ms), written(entry.settled_ms), entry.outcome),
            *(entry.reason, entry.subject, entry.key, entry.member, entry.pool, entry.target, entry.operation),
            *(entry.streamed, entry.sealed, entry.region, entry.tokens_in, entry.tokens_out, entry.tokens_cached),
            *(charged.requests, charged.tokens, charged.micro_usd, charged.gpu_ms),
        ]
    )
