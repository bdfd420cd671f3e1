"""What the operator does: tenants, pools, a tenant's first keys, key epochs. IAM-authorised by API Gateway."""

from typing import Annotated, Any, Literal

import msgspec

from chalicelib import wiring
from chalicelib.admission.limits import DEFAULT_LIMITS, Limits
from chalicelib.api.kms_keys import ask_enclave, read
from chalicelib.api.management import KeyRequest, Keys, KeyView, NewKey, expiry, new_key, view
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.placement import TargetState
from chalicelib.placement.failure import Failure
from chalicelib.pool import Capacity, OpenAICompatible, Pool
from chalicelib.refusal import Conflict, Malformed
from chalicelib.tenancy import Change
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

NAME_TEXT = (
    "A pool's name has 1 to 128 letters, digits or any of . _ : @ - in up to 8 parts with slashes between; each part "
    "begins and ends with a letter or a digit."
)
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
    tenants: list[Tenant]


class Pools(msgspec.Struct, frozen=True):
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
    return wiring.tenancy().change_tenant(asked.parameters["tenant"], asked.json(Change))


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
    summary="Revoke a tenant's API key", returns=KeyView,
)  # fmt: skip
def revoke_any_key(asked: Incoming) -> KeyView:
    return view(wiring.tenancy().revoke_key(asked.parameters["tenant"], asked.parameters["key"]), wiring.path().clock())


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
    "GET", "/admin/pools/{pool+}", permission="operate",
    summary="Look at a pool: how its targets are, and why one failed", returns=PoolView,
)  # fmt: skip
def show_pool(asked: Incoming) -> PoolView:
    pool = wiring.tenancy().pool(asked.parameters["pool"])
    path = wiring.path()
    return PoolView(pool, [_target_view(state, path.clock()) for state in path.placement.states(pool)])


@surface.door(
    "PUT", "/admin/pools/{pool+}", permission="operate",
    summary="Create or replace a pool", accepts=Pool, returns=Pool,
)  # fmt: skip
def put_pool(asked: Incoming) -> Pool:
    pool = asked.json(Pool)
    if pool.name != asked.parameters["pool"]:
        raise Malformed("`name` is not the pool that the path names.", field="name")
    try:
        msgspec.convert(pool.name, PoolName)
    except msgspec.ValidationError:
        raise Malformed(NAME_TEXT, field="name") from None
    for target in pool.targets:
        if target.engine not in wiring.path().placement.kinds:
            raise Malformed(f"The engine {target.engine} is not wired here.", field="targets")
        if isinstance(target, OpenAICompatible) and target.secret and not target.private:
            raise Malformed(
                f"The target {target.name!r} has a key: its `url` has to begin with https://, or be a private address.",
                field="targets",
            )
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
        last_failure=max(failures, key=lambda each: each.at_ms, default=None),
    )
