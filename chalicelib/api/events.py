"""What was changed, and by whom: a tenant's own people read it of their tenant, and the operator of every one."""

import msgspec

from chalicelib import wiring
from chalicelib.api.requests import LedgerQuery, times_of
from chalicelib.http.callers import Caller
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.journal import Change
from chalicelib.tenancy import PLATFORM_TENANT

surface = Surface(__name__, "management", title="Audit", prefix="/tenants/{tenant}", auth="key")
operators = Surface(__name__, "management", title="Admin", prefix="/admin", auth="signed_or_key")


class EventQuery(LedgerQuery, frozen=True):
    """Which events, of what was asked for from `since_ms` to `until_ms`; `cursor` comes from the page before."""


class Who(msgspec.Struct, frozen=True):
    """Who asked for a change, how they proved that it was they, and from where."""

    subject: str  # "key:<id>", "member:<subject>", or the ARN of an IAM principal
    proof: str  # "api_key", "jwt", "session" or "iam"; of who comes in, "password" or "page", too
    tenant: str  # that they belong to: `platform`, for the operator
    source_ip: str


class EventView(msgspec.Struct, frozen=True):
    """A change that somebody asked for. `status`: of the answer; null: whether it was made is not known."""

    id: str
    at_ms: int
    tenant: str  # whose things: the platform's own, where it is no tenant's
    who: Who
    action: str  # the route, by its `operationId` in the OpenAPI document
    object: str  # what the path names below the tenant
    reason: str
    request_id: str
    status: int | None
    ended_ms: int | None
    made: str  # the id of what was made


class EventPage(msgspec.Struct, frozen=True):
    """Newest first; a `cursor` where there are more."""

    events: list[EventView]
    cursor: str | None


@surface.door(
    "GET", "/tenants/{tenant}/events", permission="usage.read",
    summary="What was changed, and by whom, newest first", query=EventQuery, returns=EventPage,
)  # fmt: skip
def list_events(asked: Incoming, caller: Caller) -> EventPage:
    """Every change of the tenant's keys, members, settings and limits that somebody asked for, the operator's, too; and
    who joined, signed in and signed out."""
    return _page(caller.principal.tenant, asked)


@operators.door(
    "GET", "/admin/tenants/{tenant}/events", permission="operate",
    summary="What was changed of a tenant, and by whom, newest first", query=EventQuery, returns=EventPage,
)  # fmt: skip
def list_any_events(asked: Incoming) -> EventPage:
    """Of the tenant `platform`: all that was changed by operators, whosever it was."""
    tenant = asked.parameters["tenant"]
    if tenant != PLATFORM_TENANT:  # which has a log without being made
        wiring.tenancy().tenant(tenant)
    return _page(tenant, asked)


def _page(tenant: str, asked: Incoming) -> EventPage:
    query = asked.query_as(EventQuery)
    page = wiring.journal().page(tenant, *times_of(query), query.cursor, query.limit)
    return EventPage([_view(change) for change in page.changes], page.cursor)


def _view(change: Change) -> EventView:
    event, ended = change.event, change.ended
    return EventView(
        id=event.id,
        at_ms=event.at_ms,
        tenant=event.tenant,
        who=Who(event.subject, event.proof, event.by, event.source_ip),
        action=event.action,
        object=event.object,
        reason=event.reason,
        request_id=event.request_id,
        status=ended.status if ended else None,
        ended_ms=ended.at_ms if ended else None,
        made=ended.made if ended else "",
    )
