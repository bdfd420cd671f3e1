"""What we know of a customer. Values; who may change them is `identity`, how they are kept is `store`."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from chalicelib.admission.limits import DEFAULT_LIMITS, Limits
from chalicelib.pool import PoolName as PoolName

Role = Literal["owner", "developer", "analyst", "viewer"]
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
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$(?!\n)",
        description="1 to 128 letters, digits or any of . _ @ + -, beginning with a letter or a digit",
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


class Tenant(msgspec.Struct, frozen=True):
    """A customer: which pools it may use, within which limits."""

    id: TenantId
    name: Label
    status: Literal["active", "suspended"] = "active"
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


class Scopes(msgspec.Struct, frozen=True):
    """What a key is narrowed to. Empty means everything its role and tenant allow."""

    pools: tuple[PoolName, ...] = ()
    surfaces: tuple[SurfaceName, ...] = ()


class Key(msgspec.Struct, frozen=True):
    """An API key as it is stored: never the secret, only its digest."""

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

    def valid(self, now_ms: int) -> bool:
        return self.revoked_ms is None and (self.expires_ms is None or now_ms < self.expires_ms)


class Member(msgspec.Struct, frozen=True):
    """A person of the tenant and the role they hold."""

    subject: Subject
    role: Role
    added_ms: int = 0
