"""What a tenant's own people do with it and its keys."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from chalicelib import wiring
from chalicelib.admission.limits import Limits
from chalicelib.http.callers import Caller
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface, named_routes
from chalicelib.identity import Principal
from chalicelib.identity.principal import WHOLE
from chalicelib.refusal import Conflict, Forbidden
from chalicelib.tenancy import PLATFORM_TENANT, validity
from chalicelib.tenancy.allowed import must_be_routes
from chalicelib.tenancy.closing import ERASED
from chalicelib.tenancy.guardrails import must_be_a_keys
from chalicelib.tenancy.key_text import KeyText
from chalicelib.tenancy.tenant import Key, Label, PoolName, Role, Scopes, Sealing
from guard import Rules

surface = Surface(__name__, "management", title="Tenant", prefix="/tenants/{tenant}", auth="key")

MOST_GRACE_S = 7 * 86_400
LAST_OWNER = (
    "No owner key of this tenant is left: nobody manages its keys and members any more. The operator of the service "
    "can make a new one."
)
LAST_OPERATOR = (
    "No owner key of the platform tenant is left: only requests signed by IAM open the admin surface now. Sign one to "
    "make a new key."
)


class KeyRequest(msgspec.Struct, frozen=True):
    """A key to be made. `expires_in_s` counts from now; left out, the key does not expire.

    It is the member's who makes it, or whose key does: it ends with them, and never does more than they may. `service`:
    it is the tenant's own instead, and stays. `guardrails`: rules of its own, beside the tenant's; the stricter count.
    """

    role: Role
    label: Label = ""
    scopes: Scopes = Scopes()
    expires_in_s: Annotated[int, msgspec.Meta(ge=1, le=315_360_000)] | None = None
    service: bool = False
    guardrails: Rules | None = None


class Rotation(msgspec.Struct, frozen=True):
    """How long the old key stays valid beside the new one."""

    grace_s: Annotated[int, msgspec.Meta(ge=0, le=MOST_GRACE_S)] = 86_400


class KeyView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key as it may be shown: without its digest. `member`: whose it is; left out, it is the tenant's own."""

    id: str
    role: Role
    label: str
    scopes: Scopes
    created_ms: int
    state: Literal["active", "expired", "revoked"]
    expires_ms: int | None = None
    revoked_ms: int | None = None
    replaced_by: str | None = None
    member: str | None = None
    guardrails: Rules | None = None


class RevokedKey(KeyView, frozen=True, omit_defaults=True):
    """A key that opens nothing any more. `warning`: what else does not, now."""

    warning: str | None = None


class NewKey(msgspec.Struct, frozen=True):
    """The only time that the secret is shown."""

    key: KeyView
    api_key: str


class Keys(msgspec.Struct, frozen=True):
    """API keys, without their secrets."""

    keys: list[KeyView]


class Profile(msgspec.Struct, frozen=True):
    """The tenant as its own people see it."""

    id: str
    name: str
    status: str
    pools: list[PoolName]
    aliases: Mapping[str, str]  # other names of theirs
    limits: Limits
    sealing: Sealing


@surface.door(
    "GET", "/tenants/{tenant}", permission="usage.read",
    summary="The tenant, its pools and limits", returns=Profile,
)  # fmt: skip
def show_tenant(_: Incoming, caller: Caller) -> Profile:
    """As its own people see it, with the KMS keys that it seals with."""
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


@surface.door("GET", "/tenants/{tenant}/keys", permission="keys.manage", summary="List the API keys", returns=Keys)
def list_keys(_: Incoming, caller: Caller) -> Keys:
    """Without their secrets; revoked and expired ones, too."""
    now_ms = wiring.path().clock()
    return Keys([view(key, now_ms) for key in wiring.tenancy().keys(caller.principal.tenant)])


@surface.door(
    "POST", "/tenants/{tenant}/keys", permission="keys.manage", for_narrowed="covering",
    summary="Create an API key", accepts=KeyRequest, returns=NewKey, status=201, names=lambda made: made.key.id,
)  # fmt: skip
def create_key(asked: Incoming, caller: Caller) -> NewKey:
    """Its secret is shown this once."""
    _must_count_for_itself(caller)
    return new_key(caller.principal, caller.principal.tenant, asked.json(KeyRequest))


@surface.door(
    "DELETE", "/tenants/{tenant}/keys/{key}", permission="keys.manage", for_narrowed="covering",
    summary="Revoke an API key, at once and everywhere", returns=RevokedKey,
)  # fmt: skip
def revoke_key(asked: Incoming, caller: Caller) -> RevokedKey:
    """It is refused on the next request. Revoking again changes nothing."""
    return revoked(caller.principal, caller.principal.tenant, asked.parameters["key"])


@surface.door(
    "POST", "/tenants/{tenant}/keys/{key}/rotate", permission="keys.manage", for_narrowed="covering",
    summary="Replace an API key; the old one stays valid for a while", accepts=Rotation, returns=NewKey, status=201,
    names=lambda made: made.key.id,
)  # fmt: skip
def rotate_key(asked: Incoming, caller: Caller) -> NewKey:
    """The new key is as wide as the old one, which stays valid for `grace_s`; its rules of velocity it has, too."""
    request = asked.json(Rotation)
    _must_count_for_itself(caller)
    _must_cover(caller.principal, wiring.tenancy().key(caller.principal.tenant, asked.parameters["key"]))
    return _shown(
        *wiring.tenancy().rotate_key(caller.principal.tenant, asked.parameters["key"], request.grace_s * 1000)
    )


def _must_count_for_itself(caller: Caller) -> None:
    """Raises Forbidden for a narrowed key with rules of velocity: each key that it made would be counted anew."""
    if caller.principal.key not in caller.snapshot.tenant.key_velocity:
        return
    try:
        caller.principal.must_be_whole()
    except Forbidden:
        raise Forbidden(
            "This key has rules of velocity of its own, which hold for each key by itself: it makes and rotates none. "
            f"{WHOLE.capitalize()}."
        ) from None


def new_key(maker: Principal, tenant: str, request: KeyRequest, *, emergency: bool = False) -> NewKey:
    """Raises Forbidden for a key that could do more than its maker; Malformed for a scope that the tenant has not;
    NotFound.
    """
    expires_ms = None if request.expires_in_s is None else wiring.path().clock() + request.expires_in_s * 1000
    maker.must_cover(request.role, request.scopes, expires_ms, request.guardrails)
    held = wiring.tenancy().tenant(tenant)
    if held.status == "erased":
        raise Conflict(ERASED)
    validity.must_be_of_tenant(request.scopes, held.pools)
    must_be_routes(request.scopes.routes, named_routes(), "scopes.routes")
    if request.guardrails is not None:
        must_be_a_keys(request.guardrails, wiring.tenancy().guardrails.of(tenant).rules)
    return _shown(
        *wiring.tenancy().create_key(
            tenant,
            request.role,
            label=request.label,
            scopes=request.scopes,
            expires_ms=expires_ms,
            member=None if request.service or tenant != maker.tenant else maker.member,
            guardrails=request.guardrails,
            emergency=emergency,
        )
    )


def revoked(principal: Principal, tenant: str, key_id: str) -> RevokedKey:
    """The key, revoked; with a warning where it leaves nobody to manage the tenant's keys and members.

    Raises Forbidden for a key that can do more than the principal; NotFound.
    """
    now_ms = wiring.path().clock()
    _must_cover(principal, wiring.tenancy().key(tenant, key_id))
    key = wiring.tenancy().revoke_key(tenant, key_id)
    owners = [member for member in wiring.tenancy().people.members(tenant) if member.role == "owner"]
    holders = {None, *(member.subject for member in owners)}
    others = any(_manages(each, now_ms) and each.member in holders for each in wiring.tenancy().keys(tenant))
    signs_in = tenant != PLATFORM_TENANT and any(member.joined_ms is not None for member in owners)
    last = key.role == "owner" and not others and not signs_in
    warning = (LAST_OPERATOR if tenant == PLATFORM_TENANT else LAST_OWNER) if last else None
    return RevokedKey(**msgspec.structs.asdict(view(key, now_ms)), warning=warning)


def _must_cover(principal: Principal, key: Key) -> None:
    principal.must_cover(key.role, key.scopes, key.expires_ms, key.guardrails)


def _manages(key: Key, now_ms: int) -> bool:
    surfaces = key.scopes.surfaces
    return key.role == "owner" and key.valid(now_ms) and (not surfaces or "management" in surfaces)


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
        member=key.member,
        guardrails=key.guardrails,
    )


def _shown(key: Key, key_text: KeyText) -> NewKey:
    return NewKey(view(key, wiring.path().clock()), key_text.text)
