"""What the operator does: tenants, pools, a tenant's first keys, key epochs. IAM-authorised by API Gateway."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from chalicelib import wiring
from chalicelib.admission.limits import DEFAULT_LIMITS, Limits
from chalicelib.api.kms_keys import ask_enclave, read
from chalicelib.api.management import (
    KeyRequest,
    Keys,
    NewKey,
    RevokedKey,
    new_key,
    revoked,
    view,
)
from chalicelib.api.requests import LedgerPage, LedgerQuery, page_of
from chalicelib.api.usage import Usage, usage_of
from chalicelib.http.incoming import Incoming, must_fit
from chalicelib.http.route_table import ROUTES
from chalicelib.http.routing import reserved
from chalicelib.http.surface import Surface
from chalicelib.identity import Principal
from chalicelib.placement import TargetState
from chalicelib.placement.failure import Failure, Whom
from chalicelib.pool import Capacity, Pool
from chalicelib.refusal import Conflict, Malformed
from chalicelib.tenancy import Change, validity
from chalicelib.tenancy.key_epochs import KeyEpoch
from chalicelib.tenancy.tenant import (
    Aliases,
    Label,
    Origins,
    PoolName,
    PrincipalArn,
    Priority,
    RetentionDays,
    Tenant,
    TenantId,
)
from chalicelib.tickets import Claims

surface = Surface(__name__, "management", title="Admin", prefix="/admin", auth="signed_or_key")

MetBy = Literal["call", "probe"]
HOUR_S = 3_600
DAY_S = 24 * HOUR_S


class TenantRequest(msgspec.Struct, frozen=True):
    """A tenant to be made; limits left out are the defaults of docs/admission.md."""

    id: TenantId
    name: Label
    limits: Limits = DEFAULT_LIMITS
    pools: tuple[PoolName, ...] = ()
    pins: dict[str, str] = {}
    priority: Priority = 5
    origins: Origins = ()
    retention_days: RetentionDays = 30
    aliases: Aliases = {}


class Tenants(msgspec.Struct, frozen=True):
    """All tenants."""

    tenants: list[Tenant]


class Pools(msgspec.Struct, frozen=True):
    """All pools."""

    pools: list[Pool]


class FailureView(msgspec.Struct, frozen=True):
    """When and why. `symptom` is what was met there: an HTTP status, a code of AWS or of the system."""

    at_ms: int
    cause: str
    symptom: str
    model: str  # where the target leaves it to callers
    met_by: MetBy


class TargetView(msgspec.Struct, frozen=True):
    """How a target is, by its own word and by the last call that failed there, in any sandbox."""

    name: str
    engine: str
    healthy: bool | None  # as it answers now; null: it is not asked, because that might wake it
    latency_ms: int | None  # of the answer to it; null: there was none
    capacity: Capacity | None
    breaker: Literal["closed", "open", "half_open"]
    retry_in_ms: int | None  # until an open breaker lets a call try
    held_back: Whom | None  # whose calls a breaker that is not closed holds back
    last_failure: FailureView | None


class PoolView(msgspec.Struct, frozen=True):
    """`pool` is what PUT takes; `targets`, in the same order, how they are."""

    pool: Pool
    targets: list[TargetView]


class Principals(msgspec.Struct, frozen=True):
    """The IAM users and roles by whom a tenant's signed requests are signed; a role stands without its path."""

    principals: Annotated[tuple[PrincipalArn, ...], msgspec.Meta(max_length=100)]


class KeyEpochRequest(msgspec.Struct, frozen=True):
    """How long requests may be sealed to the key of the new epoch."""

    lifetime_s: Annotated[int, msgspec.Meta(ge=HOUR_S, le=90 * DAY_S)] = 7 * DAY_S


class KeyEpochView(msgspec.Struct, frozen=True):
    """A key epoch, and until when requests may be sealed to it."""

    epoch: str
    expires_ms: int


class KeyEpochList(msgspec.Struct, frozen=True):
    """Newest first: the first is the one that clients are given."""

    epochs: list[KeyEpochView]


class _NewEpoch(msgspec.Struct, frozen=True):
    token: bytes


@surface.door("GET", "/admin/tenants", permission="operate", summary="List the tenants", returns=Tenants)
def list_tenants(_: Incoming) -> Tenants:
    """All of them, whatever their status."""
    return Tenants(list(wiring.tenancy().tenants()))


@surface.door(
    "POST", "/admin/tenants", permission="operate", for_narrowed="closed",
    summary="Create a tenant", accepts=TenantRequest, returns=Tenant, status=201, names=lambda made: made.id,
)  # fmt: skip
def create_tenant(asked: Incoming) -> Tenant:
    """Limits that are left out are the defaults."""
    request = asked.json(TenantRequest)
    if request.id in reserved(ROUTES.paths):
        raise Malformed("The service's own paths have this word: no tenant may be called so.", field="id")
    _must_name_what_there_is(request.pools, request.pins, request.pools)
    return wiring.tenancy().create_tenant(Tenant(**msgspec.structs.asdict(request)))


@surface.door("GET", "/admin/tenants/{tenant}", permission="operate", summary="Look at a tenant", returns=Tenant)
def show_any_tenant(asked: Incoming) -> Tenant:
    """Everything that is kept of it, but its API keys."""
    return wiring.tenancy().tenant(asked.parameters["tenant"])


@surface.door(
    "PATCH", "/admin/tenants/{tenant}", permission="operate", for_narrowed="closed",
    summary="Change limits, pools, pins or status; true from the tenant's next request on", accepts=Change,
    returns=Tenant,
)  # fmt: skip
def change_tenant(asked: Incoming) -> Tenant:
    """A member that is left out stays as it is; a list replaces the one before."""
    change, tenancy = asked.json(Change), wiring.tenancy()
    if change.pools or change.pins:
        tenant = tenancy.tenant(asked.parameters["tenant"])
        pools = tenant.pools if change.pools is None else change.pools
        _must_name_what_there_is(change.pools or (), change.pins or {}, pools)
    return tenancy.change_tenant(asked.parameters["tenant"], change)


def _must_name_what_there_is(named: Sequence[str], pins: Mapping[str, str], pools: Sequence[str]) -> None:
    """`named`: pools that are to be the tenant's; `pools`: all that it has then."""
    if named or pins:
        known = wiring.tenancy().pools()
        validity.must_be_pools(named, [pool.name for pool in known], "pools", "here")
        validity.must_be_pinned_to_targets(pins, pools, known)


@surface.door(
    "GET", "/admin/tenants/{tenant}/usage", permission="operate",
    summary="What is left of each of a tenant's limits", returns=Usage,
)  # fmt: skip
def show_any_usage(asked: Incoming) -> Usage:
    """The limits as they stand now, and how many requests are in flight."""
    return usage_of(wiring.tenancy().tenant(asked.parameters["tenant"]))


@surface.door(
    "GET", "/admin/tenants/{tenant}/requests", permission="operate",
    summary="A tenant's ledger, newest first", query=LedgerQuery, returns=LedgerPage,
)  # fmt: skip
def list_any_requests(asked: Incoming) -> LedgerPage:
    """An entry for each admitted request: what was reserved, used and charged."""
    return page_of(wiring.tenancy().tenant(asked.parameters["tenant"]).id, asked)


@surface.door(
    "GET", "/admin/tenants/{tenant}/keys", permission="operate",
    summary="List a tenant's API keys", returns=Keys,
)  # fmt: skip
def list_any_keys(asked: Incoming) -> Keys:
    """Without their secrets; revoked and expired ones, too."""
    tenant = wiring.tenancy().tenant(asked.parameters["tenant"])
    now_ms = wiring.path().clock()
    return Keys([view(key, now_ms) for key in wiring.tenancy().keys(tenant.id)])


@surface.door(
    "POST", "/admin/tenants/{tenant}/keys", permission="operate", for_narrowed="covering",
    summary="Create an API key for a tenant", accepts=KeyRequest, returns=NewKey, status=201,
    names=lambda made: made.key.id,
)  # fmt: skip
def create_any_key(asked: Incoming, operator: Principal) -> NewKey:
    """Its secret is shown this once."""
    return new_key(operator, asked.parameters["tenant"], asked.json(KeyRequest))


@surface.door(
    "DELETE", "/admin/tenants/{tenant}/keys/{key}", permission="operate", for_narrowed="covering",
    summary="Revoke a tenant's API key", returns=RevokedKey,
)  # fmt: skip
def revoke_any_key(asked: Incoming, operator: Principal) -> RevokedKey:
    """It is refused on the next request."""
    return revoked(operator, asked.parameters["tenant"], asked.parameters["key"])


@surface.door(
    "GET", "/admin/tenants/{tenant}/principals", permission="operate",
    summary="List the IAM principals that sign for a tenant", returns=Principals,
)  # fmt: skip
def list_principals(asked: Incoming) -> Principals:
    """IAM users and roles; a role stands without its path."""
    return Principals(wiring.tenancy().tenant(asked.parameters["tenant"]).principals)


@surface.door(
    "PUT", "/admin/tenants/{tenant}/principals", permission="operate", for_narrowed="closed",
    summary="Say which IAM principals sign for a tenant: these, no other", accepts=Principals, returns=Principals,
)  # fmt: skip
def put_principals(asked: Incoming) -> Principals:
    """The list replaces the one before."""
    wanted = asked.json(Principals).principals
    return Principals(wiring.tenancy().principals.put(asked.parameters["tenant"], wanted).principals)


@surface.door(
    "DELETE", "/admin/tenants/{tenant}/principals", permission="operate", for_narrowed="closed",
    summary="Let no IAM principal sign for a tenant any more", status=204,
)  # fmt: skip
def delete_principals(asked: Incoming) -> Any:
    """Signed requests of the tenant are refused from now on."""
    wiring.tenancy().principals.put(asked.parameters["tenant"], ())


@surface.door("GET", "/admin/pools", permission="operate", summary="List the pools", returns=Pools)
def list_pools(_: Incoming) -> Pools:
    """With their targets and prices."""
    return Pools(list(wiring.tenancy().pools()))


@surface.door(
    "GET", "/admin/pools/{pool+}", permission="operate",
    summary="Look at a pool: how its targets are, and why one failed", returns=PoolView,
)  # fmt: skip
def show_pool(asked: Incoming) -> PoolView:
    pool = wiring.tenancy().pool(asked.parameters["pool"])
    path = wiring.path()
    return PoolView(pool, [_target_view(state, path.clock()) for state in path.placement.states(pool)])


@surface.door(
    "PUT", "/admin/pools/{pool+}", permission="operate", for_narrowed="closed",
    summary="Create or replace a pool", accepts=Pool, returns=Pool,
)  # fmt: skip
def put_pool(asked: Incoming) -> Pool:
    """`name` is the one in the path. What runs already goes on as it began."""
    pool = asked.json(Pool)
    if pool.name != asked.parameters["pool"]:
        raise Malformed("`name` is not the pool that the path names.", field="name")
    must_fit(pool.name, PoolName, "name")
    placement = wiring.path().placement
    for index, target in enumerate(pool.targets):
        if target.engine not in placement.kinds:
            raise Malformed(
                f"The engine {target.engine} is not wired here, only {', '.join(sorted(placement.kinds))}.",
                field=f"targets[{index}].engine",
            )
    validity.must_be_sound(pool, placement.speaks)
    return wiring.tenancy().put_pool(pool)


@surface.door(
    "DELETE", "/admin/pools/{pool+}", permission="operate", for_narrowed="closed",
    summary="Remove a pool", status=204,
)  # fmt: skip
def delete_pool(asked: Incoming) -> Any:
    """Tenants that list it can no longer use it."""
    wiring.tenancy().delete_pool(asked.parameters["pool"])


@surface.door(
    "GET", "/admin/key-epochs", permission="operate",
    summary="List the key epochs that have not expired", returns=KeyEpochList,
)  # fmt: skip
def list_key_epochs(_: Incoming) -> KeyEpochList:
    """Newest first: the first is the one that clients seal to."""
    return KeyEpochList([_epoch_view(epoch) for epoch in wiring.tenancy().key_epochs.living()])


@surface.door(
    "POST", "/admin/key-epochs", permission="operate", for_narrowed="closed",
    summary="Have an enclave make the key of a new epoch, from now on the current one", accepts=KeyEpochRequest,
    returns=KeyEpochView, status=201, names=lambda made: made.epoch,
)  # fmt: skip
def begin_key_epoch(asked: Incoming) -> KeyEpochView:
    """Clients are given the new one from now on; the older ones open until they expire."""
    request = asked.json(KeyEpochRequest)
    pool = next((pool for pool in wiring.tenancy().pools() if pool.sealed), None)
    if pool is None:
        raise Conflict("No pool has an enclave. Put one with `sealed` first.")
    path = wiring.path()
    shown = KeyEpochView(f"e-{path.randomness(8).hex()}", path.clock() + request.lifetime_s * 1_000)
    claims = Claims("epoch", request_id=asked.request_id)
    told = read(ask_enclave(claims, msgspec.json.encode(shown), pool, None), _NewEpoch)
    wiring.tenancy().key_epochs.begin(KeyEpoch(shown.epoch, shown.expires_ms, told.token))
    return shown


def _epoch_view(epoch: KeyEpoch) -> KeyEpochView:
    return KeyEpochView(epoch.epoch, epoch.expires_ms)


def _target_view(state: TargetState, now_ms: int) -> TargetView:
    probe, breaker = state.probe, state.breaker
    met: dict[MetBy, Failure | None] = {
        "call": breaker.failure if breaker else None,
        "probe": probe.failure if probe else None,
    }
    failures = [FailureView(why.at_ms, why.cause, why.symptom, why.model, by) for by, why in met.items() if why]
    retry_at_ms = breaker.retry_at_ms if breaker else None
    return TargetView(
        name=state.target.name,
        engine=state.target.engine,
        healthy=None if probe is None else probe.capacity is not None,
        latency_ms=probe.latency_ms if probe else None,
        capacity=probe.capacity if probe else None,
        breaker=breaker.phase(now_ms) if breaker else "closed",
        retry_in_ms=None if retry_at_ms is None else max(retry_at_ms - now_ms, 0),
        held_back=breaker.whom if breaker and retry_at_ms is not None else None,
        last_failure=max(failures, key=lambda each: each.at_ms, default=None),
    )
