"""What we know of a customer. Values; who may change them is `identity`, how they are kept is `store`."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, cast, get_args

import msgspec

from chalicelib.admission.limits import DEFAULT_LIMITS, Limits
from chalicelib.pool import BedrockGuardrail
from chalicelib.pool import PoolName as PoolName
from guard.rules import Rules

Role = Literal["owner", "developer", "analyst", "viewer"]
"""The widest first: each may do all that those after it may."""
RoleName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z][a-z0-9-]{0,39}$(?!\n)",
        description="owner, developer, analyst, viewer, or one of the tenant's own roles: 1 to 40 lower-case letters, "
        "digits or -, beginning with a letter",
    ),
]
SurfaceName = Literal["openai", "anthropic", "native", "bedrock", "management"]
SealingAuth = Literal["api_key", "kms"]  # kms: possession of a registered key, which mode esdk proves, is enough

# Of patterns, see `chalicelib.pool`.
_TENANT_ID = "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"
TenantId = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^{_TENANT_ID}$(?!\n)",
        description="1 to 40 lower-case letters, digits or -, not beginning or ending with -",
    ),
]
Aliases = Annotated[dict[PoolName, PoolName], msgspec.Meta(max_length=100)]  # name -> pool
Label = Annotated[str, msgspec.Meta(max_length=100)]
Subject = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+|:-]{0,127}$(?!\n)",
        description="a mail address, or a person's subject at their issuer: 1 to 128 letters, digits or any of "
        ". _ @ + | : -, beginning with a letter or a digit",
    ),
]
Priority = Annotated[int, msgspec.Meta(ge=0, le=9)]
# As browsers say it: lower case, no path, no default port; never `*` or `null`, which are anybody.
Origin = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z][a-z0-9+.-]*://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$(?!\n)",
        max_length=250,
        description="an origin as browsers say it, as https://app.example.com or http://localhost:3000: lower case, "
        "without a path",
    ),
]
Origins = Annotated[tuple[Origin, ...], msgspec.Meta(max_length=50)]
RetentionDays = Annotated[int, msgspec.Meta(ge=1, le=3_650)]  # of ledger entries, after their settlement
PrincipalArn = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:(user|role)/[A-Za-z0-9+=,.@_/-]+$(?!\n)",
        max_length=200,
        description="the ARN of an IAM user or role, ending in :user/ or :role/ and its name",
    ),
]


def is_a_tenants(name: str) -> bool:
    """Whether a tenant may have this id: any other is nobody's, and need not be looked for."""
    return re.fullmatch(_TENANT_ID, name) is not None


class RegisteredKey(msgspec.Struct, frozen=True):
    """A KMS key that the tenant has proved to control: what it seals with in modes kms and esdk."""

    arn: str
    registered_ms: int

    @property
    def id(self) -> str:
        return id_of(self.arn)


def id_of(arn: str) -> str:
    """A KMS key's id, by which paths name it: the last part of its full ARN."""
    return arn.rpartition("/")[2]


class Sealing(msgspec.Struct, frozen=True):
    """How the tenant's sealed requests are let in, and the keys that may open them."""

    auth: SealingAuth = "api_key"
    keys: tuple[RegisteredKey, ...] = ()

    def key_for(self, arn: str | None) -> str | None:
        """The ARN if it is registered; for None, the only registered one. None where there is no such key."""
        if arn is None:
            return self.keys[0].arn if len(self.keys) == 1 else None
        return arn if any(key.arn == arn for key in self.keys) else None

    def named(self, key_id: str) -> RegisteredKey | None:
        return next((key for key in self.keys if key.id == key_id), None)


NONE = "(none)"
"""What is left of two narrowings that have nothing in common, for the empty one is everything. It is nothing's name."""


ToolGlob = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=128, description="the name of a tool, or of several: `*` is any characters, `?` one"
    ),
]


RouteGlob = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(GET|POST|PUT|PATCH|DELETE|\*) ?[ -~]+$(?!\n)",
        max_length=200,
        description="a route, as `POST /tenants/{tenant}/v1/chat/completions`, or several: `*` is any characters, "
        "`?` one",
    ),
]
RouteGlobs = Annotated[tuple[RouteGlob, ...], msgspec.Meta(max_length=100)]


class Scopes(msgspec.Struct, frozen=True):
    """What a key or a role is narrowed to. Empty means everything that is allowed without it."""

    pools: tuple[PoolName, ...] = ()
    surfaces: tuple[SurfaceName, ...] = ()
    tools: Annotated[tuple[ToolGlob, ...], msgspec.Meta(max_length=200)] = ()  # that models may be offered, and call
    routes: RouteGlobs = ()

    def within(self, other: "Scopes") -> "Scopes":
        """What both allow."""
        surfaces = _common(self.surfaces, other.surfaces)
        return Scopes(
            _common(self.pools, other.pools),
            cast(tuple[SurfaceName, ...], surfaces),
            _common_globs(self.tools, other.tools),
            _common_globs(self.routes, other.routes),
        )

    def outside(self, other: "Scopes") -> str | None:
        """Which of the scopes allows more than the other's, which is narrowed. None: this is within the other."""
        for what in self.__struct_fields__:
            mine, theirs = getattr(self, what), getattr(other, what)
            if theirs and not (mine and _all_within(what, mine, theirs)):
                return what
        return None


def _common(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
    if not mine or not theirs:
        return mine or theirs
    return tuple(name for name in mine if name in theirs) or (NONE,)


def _common_globs(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
    if not mine or not theirs:
        return mine or theirs
    from guard.globs import common  # only who is narrowed twice

    return common(mine, theirs) or (NONE,)


def _all_within(what: str, mine: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    if what not in ("tools", "routes"):
        return set(mine) <= set(theirs)
    from guard.globs import covers

    return all(covers(theirs, glob) for glob in mine)


class CustomRole(msgspec.Struct, frozen=True):
    """A role of a tenant's own: one that there is, narrowed."""

    base: Role
    scopes: Scopes = Scopes()


Roles = Annotated[dict[RoleName, CustomRole], msgspec.Meta(max_length=50)]

IssuerUrl = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^https?://[^\s?#]+$(?!\n)",
        max_length=250,
        description="the URL of an issuer, as its tokens name it in `iss`: https://, without a query",
    ),
]
ClaimName = Annotated[str, msgspec.Meta(max_length=100)]
Audience = Annotated[str, msgspec.Meta(min_length=1, max_length=250)]
Audiences = Annotated[tuple[Audience, ...], msgspec.Meta(max_length=20)]


class Issuer(msgspec.Struct, frozen=True):
    """Whose tokens say who somebody is: an OpenID Connect issuer, and the tokens of it that are for us.

    A token that says for whom it is (`aud`) must name one of the `audiences`; one that does not, as Cognito's access
    tokens, must be made for one of the `client_ids`, or have one of the `scopes`. Where there are such, each must.
    """

    url: IssuerUrl
    audiences: Audiences = ()
    client_ids: Audiences = ()  # as `client_id`, or else `azp`, says it
    subject_claim: Annotated[ClaimName, msgspec.Meta(min_length=1)] = "sub"  # that names the member
    groups_claim: ClaimName = ""  # that lists the issuer's groups of theirs; empty: none is looked at
    roles: Annotated[dict[Audience, Role], msgspec.Meta(max_length=100)] = {}  # of members who are in a group
    scopes: Audiences = ()  # that it gives for us alone: a token that has one in `scope` is for us, whichever client's


What = Literal["prompts", "keys", "addresses", "findings", "tenants"]
"""`findings`: prompts and answers in which a rule of the tenant's own that flags or refuses found something. `tenants`:
of one address, by the platform's rules alone."""
MOST_RULES = 6


class VelocityRule(msgspec.Struct, frozen=True):
    """How many different prompts, keys or addresses, or how many findings of its guardrails, a tenant may have in each
    window of so many seconds."""

    what: What
    most: Annotated[int, msgspec.Meta(ge=1, le=500)]
    per_s: Annotated[int, msgspec.Meta(ge=1, le=3_600)] = 60
    action: Literal["throttle", "flag"] = "flag"  # of more: refuse it until the window ends, or only tell the operator


class Tenant(msgspec.Struct, frozen=True):
    """A customer: which pools it may use, within which limits."""

    id: TenantId
    name: Label
    status: Literal["active", "suspended", "taken_down", "erased"] = "active"
    limits: Limits = DEFAULT_LIMITS
    pools: tuple[PoolName, ...] = ()
    pins: Mapping[str, str] = {}  # pool -> the one target this tenant's calls may run on
    priority: Priority = 5
    origins: tuple[str, ...] = ()  # of the web pages that may call the tenant's routes
    created_ms: int = 0
    sealing: Sealing = Sealing()
    principals: tuple[str, ...] = ()  # ARNs of the IAM users and roles that sign as this tenant
    retention_days: RetentionDays = 30
    aliases: Aliases = {}  # names that only this tenant has for its pools
    roles: Roles = {}  # that its members may hold, beside those there are
    issuers: tuple[Issuer, ...] = ()  # of its own, whose tokens its members come in with
    guarded: bool = False  # it has rules of what may be said, in a document of their own
    bedrock_guardrails: tuple[BedrockGuardrail, ...] = ()  # that the operator lets it use
    velocity: tuple[VelocityRule, ...] = ()  # the operator's, against scraping and hoarding
    own_velocity: tuple[VelocityRule, ...] = ()  # its owners', under those
    key_velocity: dict[str, tuple[VelocityRule, ...]] = {}  # and for single keys, by id
    sources: tuple[str, ...] = ()  # networks and VPC endpoints that its callers come from; empty: from everywhere
    taken_down_ms: int | None = None  # when it was, the last time: keys, tokens and sessions from before open nothing

    def outlived(self, created_ms: int) -> bool:
        """Whether a key or session that was made then is good for nothing, whatever the tenant's status is now."""
        return self.taken_down_ms is not None and created_ms <= self.taken_down_ms

    def role(self, name: str) -> CustomRole | None:
        """What a member who holds this role may be. None: there is no such role."""
        return CustomRole(cast(Role, name)) if name in get_args(Role) else self.roles.get(name)


class Key(msgspec.Struct, frozen=True):
    """An API key as it is stored: never the secret, only its digest."""

    DOCUMENT: ClassVar = "key#"  # how the names of their documents begin

    id: str
    tenant: str
    digest: str  # SHA-256 of the secret, hexadecimal
    role: Role
    label: str = ""
    scopes: Scopes = Scopes()
    created_ms: int = 0
    expires_ms: int | None = None
    revoked_ms: int | None = None
    replaced_by: str | None = None  # set by rotation; this key lives on until `expires_ms`
    member: Subject | None = None  # whose it is. None: the tenant's own, which outlasts whoever made it
    emergency: bool = False  # an operator's, who broke the glass: where they call from, the operator says
    guardrails: Rules | None = None  # its own, beside its tenant's, of which each time the strictest count

    def valid(self, now_ms: int) -> bool:
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)

    def revoked(self, now_ms: int) -> "Key":
        """It opens nothing any more. The first time counts."""
        return self if self.revoked_ms is not None else msgspec.structs.replace(self, revoked_ms=now_ms)

    def as_of(self, _member: "Member", holder: CustomRole) -> "Key":
        """What it may do while its member holds that role: never more than they."""
        order = get_args(Role)
        weaker = max(self.role, holder.base, key=order.index)
        return msgspec.structs.replace(self, role=weaker, scopes=self.scopes.within(holder.scopes))


class Member(msgspec.Struct, frozen=True):
    """A person of the tenant and the role they hold. Invited, until they have joined by signing in."""

    subject: Subject  # as whoever invited them wrote it: a mail address, or their subject at their issuer
    role: RoleName
    added_ms: int = 0
    issuer: str = ""  # that vouches for them, and
    sub: str = ""  # what it calls them, once they have joined
    joined_ms: int | None = None

    def is_called(self, issuer: str, sub: str) -> bool:
        """Whether this is the person whom the issuer calls so."""
        return self.joined_ms is not None and (self.issuer, self.sub) == (issuer, sub)
