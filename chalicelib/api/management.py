"""What a tenant's own people do: keys, members, limits, usage and the ledger."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from chalicelib import wiring
from chalicelib.admission import standing
from chalicelib.admission.limits import Limits
from chalicelib.http.callers import Caller
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.ledger import Entry
from chalicelib.refusal import Malformed, NotFound
from chalicelib.tenancy.tenant import Key, Label, Member, PoolName, Role, Scopes, Sealing, Subject, Tenant
from chalicelib.tenancy.token import Token

surface = Surface(__name__, "management", prefix="/tenants/{tenant}", shape="problem", auth="key")

DAY_MS = 86_400_000
MOST_GRACE_S = 7 * 86_400
LAST_MS = 10**15
"""Some time in the year 33658; ids of requests sort by their time until a little later."""


class KeyRequest(msgspec.Struct, frozen=True):
    """A key to be made. `expires_in_s` counts from now; left out, the key does not expire."""

    role: Role
    label: Label = ""
    scopes: Scopes = Scopes()
    expires_in_s: Annotated[int, msgspec.Meta(ge=1, le=315_360_000)] | None = None


class Rotation(msgspec.Struct, frozen=True):
    """How long the old key stays valid beside the new one."""

    grace_s: Annotated[int, msgspec.Meta(ge=0, le=MOST_GRACE_S)] = 86_400


class KeyView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key as it may be shown: without its digest."""

    id: str
    role: Role
    label: str
    scopes: Scopes
    created_ms: int
    state: Literal["active", "expired", "revoked"]
    expires_ms: int | None = None
    revoked_ms: int | None = None
    replaced_by: str | None = None


class NewKey(msgspec.Struct, frozen=True):
    """The only time that the secret is shown."""

    key: KeyView
    api_key: str


class Keys(msgspec.Struct, frozen=True):
    keys: list[KeyView]


class MemberRequest(msgspec.Struct, frozen=True):
    role: Role


class Members(msgspec.Struct, frozen=True):
    members: list[Member]


class Profile(msgspec.Struct, frozen=True):
    """The tenant as its own people see it."""

    id: str
    name: str
    status: str
    pools: list[PoolName]
    aliases: Mapping[str, str]  # other names of theirs
    limits: Limits
    sealing: Sealing


class Use(msgspec.Struct, frozen=True):
    """One limit, and what is left of it now. `reset_ms`: the time until it is whole again."""

    name: str
    unit: str
    quota: int
    remaining: int
    reset_ms: int


class Usage(msgspec.Struct, frozen=True):
    in_flight: int
    in_flight_limit: int
    limits: list[Use]


class LedgerQuery(msgspec.Struct, frozen=True):
    """Which entries: `since_ms` and `until_ms` bound the time of admission; `cursor` comes from the page before."""

    since_ms: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)] | None = None
    until_ms: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class LedgerPage(msgspec.Struct, frozen=True):
    """Newest first; a `cursor` where there are more."""

    entries: tuple[Entry, ...]
    cursor: str | None


@surface.door(
    "GET", "/tenants/{tenant}", permission="usage.read",
    summary="The tenant, its pools and limits", returns=Profile,
)  # fmt: skip
def show_tenant(_: Incoming, caller: Caller) -> Profile:
    tenant = caller.snapshot.tenant
    return Profile(
        tenant.id,
        tenant.name,
        tenant.status,
        list(tenant.pools),
        caller.snapshot.aliases,
        tenant.limits,
        tenant.sealing,
    )


@surface.door(
    "GET", "/tenants/{tenant}/usage", permission="usage.read",
    summary="What is left of each limit", returns=Usage,
)  # fmt: skip
def show_usage(_: Incoming, caller: Caller) -> Usage:
    return usage_of(caller.snapshot.tenant)


def usage_of(tenant: Tenant) -> Usage:
    """Raises NotFound, StoreUnavailable."""
    path = wiring.path()
    limits = tenant.limits
    meter = path.meters.reading(tenant.id)
    if meter is None:
        raise NotFound("There is no such tenant.")
    uses = standing(limits, meter, path.clock())
    return Usage(
        in_flight=len(meter.leases),
        in_flight_limit=limits.in_flight,
        limits=[Use(use.name, use.unit, use.quota, use.remaining, use.reset_ms) for use in uses],
    )


@surface.door(
    "GET", "/tenants/{tenant}/requests", permission="usage.read",
    summary="The ledger, newest first", query=LedgerQuery, returns=LedgerPage,
)  # fmt: skip
def list_requests(asked: Incoming, caller: Caller) -> LedgerPage:
    return page_of(caller.principal.tenant, asked)


def page_of(tenant: str, asked: Incoming) -> LedgerPage:
    """Of a tenant's ledger, as the query asks. Raises Malformed, StoreUnavailable."""
    query = asked.query_as(LedgerQuery)
    path = wiring.path()
    until_ms = query.until_ms if query.until_ms is not None else path.clock() + DAY_MS
    since_ms = query.since_ms or 0
    if since_ms > until_ms:
        raise Malformed("since_ms is later than until_ms.", field="since_ms")
    page = path.ledger.page(tenant, since_ms, until_ms, query.cursor, query.limit)
    return LedgerPage(page.entries, page.cursor)


@surface.door("GET", "/tenants/{tenant}/keys", permission="keys.manage", summary="List the API keys", returns=Keys)
def list_keys(_: Incoming, caller: Caller) -> Keys:
    now_ms = wiring.path().clock()
    return Keys([view(key, now_ms) for key in wiring.tenancy().keys(caller.principal.tenant)])


@surface.door(
    "POST", "/tenants/{tenant}/keys", permission="keys.manage",
    summary="Create an API key", accepts=KeyRequest, returns=NewKey, status=201,
)  # fmt: skip
def create_key(asked: Incoming, caller: Caller) -> NewKey:
    request = asked.json(KeyRequest)
    expires_ms = expiry(request)
    caller.principal.must_cover(request.scopes, expires_ms)
    return new_key(caller.principal.tenant, request, expires_ms)


@surface.door(
    "DELETE", "/tenants/{tenant}/keys/{key}", permission="keys.manage",
    summary="Revoke an API key, at once and everywhere", returns=KeyView,
)  # fmt: skip
def revoke_key(asked: Incoming, caller: Caller) -> KeyView:
    revoked = wiring.tenancy().revoke_key(caller.principal.tenant, asked.parameters["key"])
    return view(revoked, wiring.path().clock())


@surface.door(
    "POST", "/tenants/{tenant}/keys/{key}/rotate", permission="keys.manage",
    summary="Replace an API key; the old one stays valid for a while", accepts=Rotation, returns=NewKey, status=201,
)  # fmt: skip
def rotate_key(asked: Incoming, caller: Caller) -> NewKey:
    request = asked.json(Rotation)
    old = wiring.tenancy().key(caller.principal.tenant, asked.parameters["key"])
    caller.principal.must_cover(old.scopes, old.expires_ms)
    return _shown(
        *wiring.tenancy().rotate_key(caller.principal.tenant, asked.parameters["key"], request.grace_s * 1000)
    )


@surface.door(
    "GET", "/tenants/{tenant}/members", permission="members.manage",
    summary="List the members", returns=Members,
)  # fmt: skip
def list_members(_: Incoming, caller: Caller) -> Members:
    return Members(list(wiring.tenancy().members(caller.principal.tenant)))


@surface.door(
    "PUT", "/tenants/{tenant}/members/{subject}", permission="members.manage",
    summary="Add a member, or change their role", accepts=MemberRequest, returns=Member,
)  # fmt: skip
def put_member(asked: Incoming, caller: Caller) -> Member:
    request = asked.json(MemberRequest)
    try:
        subject = msgspec.convert(asked.parameters["subject"], Subject)
    except msgspec.ValidationError:
        raise Malformed("A subject has 1 to 128 letters, digits or any of . _ @ + -", field="subject") from None
    return wiring.tenancy().put_member(caller.principal.tenant, Member(subject=subject, role=request.role))


@surface.door(
    "DELETE", "/tenants/{tenant}/members/{subject}", permission="members.manage",
    summary="Remove a member", status=204,
)  # fmt: skip
def remove_member(asked: Incoming, caller: Caller) -> None:
    wiring.tenancy().remove_member(caller.principal.tenant, asked.parameters["subject"])


def expiry(request: KeyRequest) -> int | None:
    return None if request.expires_in_s is None else wiring.path().clock() + request.expires_in_s * 1000


def new_key(tenant: str, request: KeyRequest, expires_ms: int | None) -> NewKey:
    return _shown(
        *wiring.tenancy().create_key(
            tenant, request.role, label=request.label, scopes=request.scopes, expires_ms=expires_ms
        )
    )


def view(key: Key, now_ms: int) -> KeyView:
    return KeyView(
        id=key.id,
        role=key.role,
        label=key.label,
        scopes=key.scopes,
        created_ms=key.created_ms,
        state="revoked" if key.revoked_ms is not None else "active" if key.valid(now_ms) else "expired",
        expires_ms=key.expires_ms,
        revoked_ms=key.revoked_ms,
        replaced_by=key.replaced_by,
    )


def _shown(key: Key, token: Token) -> NewKey:
    return NewKey(view(key, wiring.path().clock()), token.text)
