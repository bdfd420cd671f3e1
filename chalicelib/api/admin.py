"""What the operator does: tenants, pools, a tenant's first keys, key epochs. IAM-authorised by API Gateway."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from chalicelib import wiring
from chalicelib.admission.limits import DEFAULT_LIMITS, Limits
from chalicelib.api.kms_keys import ask_enclave, read
from chalicelib.api.management import (
    KeyRequest,
    Keys,
    LedgerPage,
    LedgerQuery,
    NewKey,
    RevokedKey,
    Usage,
    expiry,
    new_key,
    page_of,
    revoked,
    usage_of,
    view,
)
from chalicelib.http.incoming import Incoming, must_fit
from chalicelib.http.surface import Surface
from chalicelib.pool import Pool
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

surface = Surface(__name__, "management", prefix="/admin", shape="problem", auth="signed_or_key")

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
    tenants: list[Tenant]


class Pools(msgspec.Struct, frozen=True):
    pools: list[Pool]


class Principals(msgspec.Struct, frozen=True):
    """The IAM users and roles by whom a tenant's signed requests are signed; a role stands without its path."""

    principals: Annotated[tuple[PrincipalArn, ...], msgspec.Meta(max_length=100)]


class KeyEpochRequest(msgspec.Struct, frozen=True):
    """How long requests may be sealed to the key of the new epoch."""

    lifetime_s: Annotated[int, msgspec.Meta(ge=HOUR_S, le=90 * DAY_S)] = 7 * DAY_S


class KeyEpochView(msgspec.Struct, frozen=True):
    epoch: str
    expires_ms: int


class KeyEpochList(msgspec.Struct, frozen=True):
    """Newest first: the first is the one that clients are given."""

    epochs: list[KeyEpochView]


class _NewEpoch(msgspec.Struct, frozen=True):
    token: bytes


@surface.door("GET", "/admin/tenants", permission="operate", summary="List the tenants", returns=Tenants)
def list_tenants(_: Incoming) -> Tenants:
    return Tenants(list(wiring.tenancy().tenants()))


@surface.door(
    "POST", "/admin/tenants", permission="operate",
    summary="Create a tenant", accepts=TenantRequest, returns=Tenant, status=201,
)  # fmt: skip
def create_tenant(asked: Incoming) -> Tenant:
    request = asked.json(TenantRequest)
    _must_name_what_there_is(request.pools, request.pins, request.pools)
    return wiring.tenancy().create_tenant(Tenant(**msgspec.structs.asdict(request)))


@surface.door("GET", "/admin/tenants/{tenant}", permission="operate", summary="Look at a tenant", returns=Tenant)
def show_any_tenant(asked: Incoming) -> Tenant:
    return wiring.tenancy().tenant(asked.parameters["tenant"])


@surface.door(
    "PATCH", "/admin/tenants/{tenant}", permission="operate",
    summary="Change limits, pools, pins or status; true from the tenant's next request on", accepts=Change,
    returns=Tenant,
)  # fmt: skip
def change_tenant(asked: Incoming) -> Tenant:
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
    return usage_of(wiring.tenancy().tenant(asked.parameters["tenant"]))


@surface.door(
    "GET", "/admin/tenants/{tenant}/requests", permission="operate",
    summary="A tenant's ledger, newest first", query=LedgerQuery, returns=LedgerPage,
)  # fmt: skip
def list_any_requests(asked: Incoming) -> LedgerPage:
    return page_of(wiring.tenancy().tenant(asked.parameters["tenant"]).id, asked)


@surface.door(
    "GET", "/admin/tenants/{tenant}/keys", permission="operate",
    summary="List a tenant's API keys", returns=Keys,
)  # fmt: skip
def list_any_keys(asked: Incoming) -> Keys:
    tenant = wiring.tenancy().tenant(asked.parameters["tenant"])
    now_ms = wiring.path().clock()
    return Keys([view(key, now_ms) for key in wiring.tenancy().keys(tenant.id)])


@surface.door(
    "POST", "/admin/tenants/{tenant}/keys", permission="operate",
    summary="Create an API key for a tenant", accepts=KeyRequest, returns=NewKey, status=201,
)  # fmt: skip
def create_any_key(asked: Incoming) -> NewKey:
    request = asked.json(KeyRequest)
    return new_key(asked.parameters["tenant"], request, expiry(request))


@surface.door(
    "DELETE", "/admin/tenants/{tenant}/keys/{key}", permission="operate",
    summary="Revoke a tenant's API key", returns=RevokedKey,
)  # fmt: skip
def revoke_any_key(asked: Incoming) -> RevokedKey:
    return revoked(asked.parameters["tenant"], asked.parameters["key"])


@surface.door(
    "GET", "/admin/tenants/{tenant}/principals", permission="operate",
    summary="List the IAM principals that sign for a tenant", returns=Principals,
)  # fmt: skip
def list_principals(asked: Incoming) -> Principals:
    return Principals(wiring.tenancy().tenant(asked.parameters["tenant"]).principals)


@surface.door(
    "PUT", "/admin/tenants/{tenant}/principals", permission="operate",
    summary="Say which IAM principals sign for a tenant: these, no other", accepts=Principals, returns=Principals,
)  # fmt: skip
def put_principals(asked: Incoming) -> Principals:
    wanted = asked.json(Principals).principals
    return Principals(wiring.tenancy().principals.put(asked.parameters["tenant"], wanted).principals)


@surface.door(
    "DELETE", "/admin/tenants/{tenant}/principals", permission="operate",
    summary="Let no IAM principal sign for a tenant any more", status=204,
)  # fmt: skip
def delete_principals(asked: Incoming) -> Any:
    wiring.tenancy().principals.put(asked.parameters["tenant"], ())


@surface.door("GET", "/admin/pools", permission="operate", summary="List the pools", returns=Pools)
def list_pools(_: Incoming) -> Pools:
    return Pools(list(wiring.tenancy().pools()))


@surface.door(
    "PUT", "/admin/pools/{pool+}", permission="operate",
    summary="Create or replace a pool", accepts=Pool, returns=Pool,
)  # fmt: skip
def put_pool(asked: Incoming) -> Pool:
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


@surface.door("DELETE", "/admin/pools/{pool+}", permission="operate", summary="Remove a pool", status=204)
def delete_pool(asked: Incoming) -> Any:
    wiring.tenancy().delete_pool(asked.parameters["pool"])


@surface.door(
    "GET", "/admin/key-epochs", permission="operate",
    summary="List the key epochs that have not expired", returns=KeyEpochList,
)  # fmt: skip
def list_key_epochs(_: Incoming) -> KeyEpochList:
    return KeyEpochList([_epoch_view(epoch) for epoch in wiring.tenancy().key_epochs.living()])


@surface.door(
    "POST", "/admin/key-epochs", permission="operate",
    summary="Have an enclave make the key of a new epoch, from now on the current one", accepts=KeyEpochRequest,
    returns=KeyEpochView, status=201,
)  # fmt: skip
def begin_key_epoch(asked: Incoming) -> KeyEpochView:
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
