"""The audit log over HTTP: JSON page by page with totals, or CSV."""

import hashlib
import re
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from chalicelib import wiring
from chalicelib.http import problems
from chalicelib.http.callers import Caller
from chalicelib.http.doors import Reply
from chalicelib.http.incoming import Incoming
from chalicelib.http.instants import Instant, instant, written
from chalicelib.http.spreadsheet import MOST_ROWS, as_file, must_have_no_pages, row
from chalicelib.http.surface import Surface
from chalicelib.identity.principal import Principal
from chalicelib.ledger.log import Found, Record, Totals, Wanted, begin, find
from chalicelib.refusal import Malformed, NotFound
from chalicelib.tenancy import PLATFORM_TENANT

surface = Surface(__name__, "management", title="Audit log", prefix="/v1/dashboard", auth="signed_or_key")

DAY_MS = 86_400_000
MOST_READS = 8
_CURSOR = re.compile(r"(?P<lease>[0-9a-z]{20})\.(?P<bound>[0-9a-f]{12})")

Text = Annotated[str, msgspec.Meta(max_length=2_048)]


class LogQuery(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """Requests that arrived from `from` to before `to` (ISO 8601; UTC where no offset is given), and what they must be.

    `cursor` comes from the page before; `tenant` is for operators.
    """

    since: Instant | None = None
    until: Instant | None = None
    model: Text | None = None
    principal: Text | None = None
    success: bool | None = None
    tenant: Text | None = None
    cursor: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50
    format: Literal["json", "csv"] = "json"


class Logged(msgspec.Struct, frozen=True, rename="camel"):
    """One request. Sizes in bytes, latency in milliseconds, `ttl` in seconds since 1970; null: not known of it."""

    request_id: str
    timestamp: str
    tenant_id: str
    user_arn: str  # or the API key's id
    source_ip: str = msgspec.field(name="sourceIP")
    source_partition: str
    destination_partition: str
    model_id: str
    inference_profile: str
    request_size: int | None
    response_size: int | None
    tokens_in: int | None
    tokens_out: int | None
    latency: int
    status_code: int | None
    success: bool
    data_classification: str
    ttl: int


class ModelCount(msgspec.Struct, frozen=True, rename="camel"):
    """How many of the requests were for a model."""

    model_id: str
    count: int


class LogTotals(msgspec.Struct, frozen=True, rename="camel"):
    """Of all matching requests where `complete`; else of those among the newest 5,000 of the time asked for.

    Of more than 5,000, percentiles are at most a 64th beside the true ones.
    """

    count: int
    success_rate: float | None
    p50_latency_ms: int | None
    p95_latency_ms: int | None
    bytes: int
    most_used_models: list[ModelCount]
    complete: bool


class LogPage(msgspec.Struct, frozen=True):
    """Newest first; a `cursor` where there may be more, also after a page with few requests or none.

    `totals` come with the first page; null on those that a `cursor` asked for.
    """

    requests: list[Logged]
    totals: LogTotals | None
    cursor: str | None


@surface.door(
    "GET", "/v1/dashboard/requests", permission="usage.read",
    summary="The audit log, newest first, with totals", query=LogQuery, returns=LogPage,
)  # fmt: skip
def audit_log(asked: Incoming, caller: Caller) -> LogPage | Reply:
    """Page by page, with totals of everything that matches on the first; or as CSV, with `format=csv`."""
    query = asked.query_as(LogQuery)
    tenant = _tenant(caller.principal, query.tenant)
    wanted = _wanted(query, tenant)
    after = _lease_of(query.cursor, tenant)
    ledger = wiring.path().ledger
    if query.format == "csv":
        must_have_no_pages(asked)
        # The first read before the first byte: what is refused is refused with a status.
        columns = [*(field.encode_name for field in msgspec.structs.fields(Logged)), "cursor"]
        return as_file(f"requests-{tenant}", columns, _lines(wanted, find(ledger, wanted, after, MOST_ROWS)))
    if after is None:
        found, totals = begin(ledger, wanted, query.limit)
        if not totals.complete:
            totals = _of_all(wanted) or totals
        return _page(tenant, found, _drawn(totals))
    # What was totalled is not read again for each page.
    return _page(tenant, find(ledger, wanted, after, query.limit), None)


def _page(tenant: str, found: Found, totals: LogTotals | None) -> LogPage:
    requests = [logged(record) for record in found.records]
    return LogPage(requests, totals, found.cursor and _cursor(tenant, found.cursor))


def _of_all(wanted: Wanted) -> Totals | None:
    """Of everything that matches, from roll-ups. None where they do not tell, as of signed calls by who signed them."""
    from chalicelib.usage import NoUsageTable  # not at the top: only for who has very many entries
    from chalicelib.usage.totals import rolled_up

    usage = wiring.usage()
    if usage is None:
        return None
    oldest_ms = wiring.path().clock() - wiring.path().snapshots.cached(wanted.tenant).tenant.retention_days * DAY_MS
    try:
        groups = usage.groups(wanted.tenant, max(wanted.since_ms, oldest_ms), wanted.until_ms)
    except NoUsageTable:
        return None
    return None if groups is None else rolled_up(wanted, groups)


def _lines(wanted: Wanted, first: Found) -> Iterator[bytes]:
    """Each line ends with the cursor that goes on after it, wherever the reading stopped."""
    left = MOST_ROWS
    found = first
    for _ in range(MOST_READS):
        yield b"".join(_line(wanted.tenant, record) for record in found.records)
        left -= len(found.records)
        if found.cursor is None or left <= 0:
            return
        found = find(wiring.path().ledger, wanted, found.cursor, left)


def _line(tenant: str, record: Record) -> bytes:
    return row([*msgspec.structs.astuple(logged(record)), _cursor(tenant, record.entry.lease_id)])


def logged(record: Record) -> Logged:
    entry, audited = record.entry, record.audited
    known = entry.audited is not None
    return Logged(
        request_id=entry.request_id,
        timestamp=written(entry.admitted_ms),
        tenant_id=entry.tenant,
        user_arn=record.principal,
        source_ip=audited.source_ip,
        source_partition=audited.source_partition,
        destination_partition=audited.destination_partition,
        model_id=record.model,
        inference_profile=audited.inference_profile,
        request_size=audited.request_bytes if known else None,
        response_size=audited.response_bytes if known else None,
        tokens_in=record.tokens_in,
        tokens_out=record.tokens_out,
        latency=record.latency_ms,
        status_code=problems.status_of_entry(entry),
        success=record.success,
        data_classification=audited.data_classification,
        ttl=record.expires_s,
    )


def _drawn(found: Totals) -> LogTotals:
    return LogTotals(
        count=found.count,
        success_rate=found.success_rate,
        p50_latency_ms=found.p50_latency_ms,
        p95_latency_ms=found.p95_latency_ms,
        bytes=found.bytes,
        most_used_models=[ModelCount(share.model, share.count) for share in found.most_used],
        complete=found.complete,
    )


def _tenant(principal: Principal, named: str | None) -> str:
    """Whose log it is: the caller's own; an owner of the platform's own tenant may name another. Raises NotFound."""
    if named is None or named == principal.tenant:
        return principal.tenant
    if principal.tenant != PLATFORM_TENANT or principal.role != "owner":
        raise NotFound("There is no such tenant, or it is not yours. Leave `tenant` out to see your own.")
    return wiring.path().snapshots.fresh(named).tenant.id


def _wanted(query: LogQuery, tenant: str) -> Wanted:
    since_ms = instant(query.since, "from") if query.since else 0
    # Clocks differ a little between sandboxes; nothing is further ahead than a day.
    until_ms = instant(query.until, "to") if query.until else wiring.path().clock() + DAY_MS
    if since_ms > until_ms:
        raise Malformed("`from` is later than `to`. Swap them.", field="from")
    return Wanted(tenant, since_ms, until_ms, query.model, query.principal, query.success)


def _cursor(tenant: str, lease_id: str) -> str:
    return f"{lease_id}.{hashlib.sha256(f'{tenant} {lease_id}'.encode()).hexdigest()[:12]}"


def _lease_of(cursor: str | None, tenant: str) -> str | None:
    """Where to go on. Raises Malformed for what this tenant's log did not give."""
    if cursor is None:
        return None
    given = _CURSOR.fullmatch(cursor)
    if given is None or cursor != _cursor(tenant, given["lease"]):
        raise Malformed("`cursor` is not one that this tenant's log gave. Begin again without it.", field="cursor")
    return given["lease"]
