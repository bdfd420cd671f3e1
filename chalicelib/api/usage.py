"""What a tenant used, and what is left of its limits."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Literal, get_args

import msgspec

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.doors import Reply
from chalicelib.http.incoming import Incoming
from chalicelib.http.instants import Instant, instant, written
from chalicelib.http.spreadsheet import CSV, MOST_ROWS, as_file, must_have_no_pages, row
from chalicelib.http.surface import Surface
from chalicelib.refusal import Malformed, NoCapacity, NotFound
from chalicelib.tenancy.tenant import Tenant
from chalicelib.usage import NoUsageTable
from chalicelib.usage.group import Dimension
from chalicelib.usage.latencies import percentile
from chalicelib.usage.reader import Asked, Row, Rows, Values
from chalicelib.usage.times import DAY_MS, HOUR_MS, Span, end, start

programs = Surface(__name__, "management", title="Usage", prefix="/tenants/{tenant}/v1", auth="key")
surface = Surface(__name__, "management", title="Tenant", prefix="/tenants/{tenant}", auth="key")

MOST_GROUPS = 50_000
"""That one answer reads of roll-ups; it ends with the bucket in which it has read as many."""

READ_AT_ONCE = 500
UNASKED_MS: Mapping[Span, int] = {"day": 30 * DAY_MS, "hour": DAY_MS}
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

Form = Literal["json", "csv"]


class UsageQuery(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """Which buckets, from the one with `from` to before `to` (ISO 8601; UTC where no offset is given), by what.

    `group_by`: some of pool, model, key, member, operation, refusal, with commas between them. Left out, `to` is now,
    `from` thirty days before it, or one day where buckets are hours. `cursor` comes from the page before.
    """

    group_by: Annotated[str, msgspec.Meta(max_length=100)] = ""
    bucket: Span = "day"
    since: Instant | None = None
    until: Instant | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1_000
    cursor: Annotated[str, msgspec.Meta(max_length=2_000)] | None = None
    format: Form = "json"


class Used(msgspec.Struct, frozen=True):
    """What one group used in one bucket. `bucket`: its first instant; `refusals`: of the requests, those that did not
    complete; `tokens_in`, `tokens_out`: that models read and wrote; `micro_usd`: charged, in millionths of a dollar;
    `p50_ms`, `p95_ms`: how long requests took, at most a 64th beside the true percentile.
    """

    bucket: str
    group: dict[str, str]
    requests: int
    refusals: int
    tokens_in: int
    tokens_out: int
    micro_usd: int
    p50_ms: int | None
    p95_ms: int | None


class UsagePage(msgspec.Struct, frozen=True):
    """By bucket, oldest first, and then by group; nothing of buckets without requests; a `cursor` where there is more.

    `as_of`: everything that came in before then is counted.
    """

    data: list[Used]
    cursor: str | None
    as_of: str


class LimitNow(msgspec.Struct, frozen=True):
    """One limit as it stands. `used`: with what running requests hold; `resets_at`: when all of it is there again."""

    name: str
    unit: str
    limit: int
    used: int
    remaining: int
    resets_at: str


class InFlight(msgspec.Struct, frozen=True):
    """Requests that run now, and how many may."""

    limit: int
    used: int
    remaining: int


class LimitsNow(msgspec.Struct, frozen=True):
    """Every limit, and requests in flight."""

    limits: list[LimitNow]
    in_flight: InFlight


class Use(msgspec.Struct, frozen=True):
    """One limit, and what is left of it now. `reset_ms`: the time until it is whole again."""

    name: str
    unit: str
    quota: int
    remaining: int
    reset_ms: int


class Usage(msgspec.Struct, frozen=True):
    """Requests in flight, and every limit."""

    in_flight: int
    in_flight_limit: int
    limits: list[Use]


@programs.door(
    "GET", "/tenants/{tenant}/v1/usage", permission="usage.read",
    summary="What was used, by hour or day, and by what you like", query=UsageQuery, returns=UsagePage, other_forms=CSV,
)  # fmt: skip
def show_used(asked: Incoming, caller: Caller) -> UsagePage | Reply:
    """From roll-ups of the ledger and, for hours that are not over for long, from the ledger itself.

    It is what the ledger says, to the token and to the micro-dollar.
    """
    query = asked.query_as(UsageQuery)
    wanted = _wanted(query, caller.principal.tenant)
    usage = wiring.usage()
    if usage is None:
        raise NotFound("Usage is not told here.")
    with _table_there():
        rows = usage.rows(wanted)
        if query.format == "csv":
            must_have_no_pages(asked)
            columns = ["bucket", *wanted.group_by, *_COUNTS, "cursor"]
            return as_file(f"usage-{wanted.tenant}", columns, _lines(rows))
        found, ended = _page(rows, query.limit)
        as_of_ms = wiring.path().clock() if rows.as_of_ms is None else rows.as_of_ms
        cursor = None if ended else _cursor(found[-1])
        return UsagePage([_drawn(each, wanted.group_by) for each in found], cursor, written(as_of_ms))


@programs.door(
    "GET", "/tenants/{tenant}/v1/limits", permission="usage.read",
    summary="What is left of each limit", returns=LimitsNow,
)  # fmt: skip
def show_limits(_: Incoming, caller: Caller) -> LimitsNow:
    """The limits as they stand now, and how many requests are in flight."""
    now_ms = wiring.path().clock()
    found = usage_of(caller.snapshot.tenant)
    limits = [
        LimitNow(
            name=each.name,
            unit=each.unit,
            limit=each.quota,
            used=max(0, each.quota - each.remaining),
            remaining=each.remaining,
            resets_at=written(now_ms + each.reset_ms),
        )
        for each in found.limits
    ]
    free = max(0, found.in_flight_limit - found.in_flight)
    return LimitsNow(limits, InFlight(found.in_flight_limit, found.in_flight, free))


@surface.door(
    "GET", "/tenants/{tenant}/usage", permission="usage.read",
    summary="What is left of each limit", returns=Usage,
)  # fmt: skip
def show_usage(_: Incoming, caller: Caller) -> Usage:
    """The limits as they stand now, and how many requests are in flight; `/v1/limits` below it says the same."""
    return usage_of(caller.snapshot.tenant)


def usage_of(tenant: Tenant) -> Usage:
    """Raises NotFound, StoreUnavailable."""
    path = wiring.path()
    limits = tenant.limits
    usage = path.admission.usage(tenant.id, limits, path.clock())
    if usage is None:
        raise NotFound("There is no such tenant.")
    in_flight, uses = usage
    return Usage(
        in_flight=in_flight,
        in_flight_limit=limits.in_flight,
        limits=[Use(use.name, use.unit, use.quota, use.remaining, use.reset_ms) for use in uses],
    )


_COUNTS = ("requests", "refusals", "tokens_in", "tokens_out", "micro_usd", "p50_ms", "p95_ms")


def _wanted(query: UsageQuery, tenant: str) -> Asked:
    now_ms = wiring.path().clock()
    until_ms = now_ms if query.until is None else instant(query.until, "to")
    since_ms = max(0, until_ms - UNASKED_MS[query.bucket]) if query.since is None else instant(query.since, "from")
    if since_ms > until_ms:
        raise Malformed("`from` is later than `to`. Swap them.", field="from")
    group_by = _dimensions(query.group_by)
    # What is ahead of our clock is ahead by little: clocks differ between sandboxes.
    until_ms = min(end(until_ms, query.bucket), end(now_ms + HOUR_MS, query.bucket))
    since_ms = min(start(since_ms, query.bucket), until_ms)
    return Asked(tenant, since_ms, until_ms, query.bucket, group_by, _after(query.cursor, len(group_by)))


def _dimensions(text: str) -> tuple[Dimension, ...]:
    names = [name.strip() for name in text.split(",")] if text else []
    for name in names:
        if name not in DIMENSIONS or names.count(name) > 1:
            raise Malformed(
                f"`group_by` takes some of {', '.join(DIMENSIONS)}, each once, with commas between them.",
                field="group_by",
            )
    return tuple(each for name in names for each in DIMENSIONS if each == name)


def _page(rows: Rows, limit: int) -> tuple[list[Row], bool]:
    """At most so many rows, and whether there are no more."""
    found: list[Row] = []
    for each in rows:
        if len(found) == limit or (rows.read > MOST_GROUPS and found and each.start_ms > found[-1].start_ms):
            return found, False
        found.append(each)
    return found, True


def _drawn(each: Row, group_by: tuple[Dimension, ...]) -> Used:
    return Used(written(each.start_ms), dict(zip(group_by, each.values, strict=True)), *_counts(each))


def _counts(each: Row) -> tuple[int, int, int, int, int, int | None, int | None]:
    tally = each.tally
    counts = tally.requests, tally.refusals, tally.tokens_in, tally.tokens_out, tally.micro_usd
    return *counts, percentile(tally.steps, 50), percentile(tally.steps, 95)


def _lines(rows: Rows) -> Iterator[bytes]:
    """Each line ends with the cursor that goes on after it."""
    taken = iter(rows)
    for _ in range(MOST_ROWS // READ_AT_ONCE):
        some = list(islice(taken, READ_AT_ONCE))
        yield b"".join(row([written(each.start_ms), *each.values, *_counts(each), _cursor(each)]) for each in some)
        if len(some) < READ_AT_ONCE:
            return


def _cursor(last: Row) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((last.start_ms, last.values))).rstrip(b"=").decode()


def _after(cursor: str | None, dimensions: int) -> tuple[int, Values] | None:
    """Raises Malformed for what no page of this question gave."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True)
        after = msgspec.json.decode(text, type=tuple[int, Values])
    except (ValueError, msgspec.MsgspecError):
        after = None
    if after is None or len(after[1]) != dimensions:
        raise Malformed("`cursor` is not one that this question gave. Begin again without it.", field="cursor")
    return after


@contextmanager
def _table_there() -> Iterator[None]:
    try:
        yield
    except NoUsageTable:
        raise NoCapacity(
            "Usage is not told yet: the service's table for it is not there. Its operator deploys infra/tables.yaml; "
            "all else works without."
        ) from None
