"""What we know of a customer. Values; who may change them is `identity`, how they are kept is `store`."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from chalicelib.admission.limits import DEFAULT_LIMITS, Limits

Role = Literal["owner", "developer", "analyst", "viewer"]
Surface = Literal["openai", "native", "management"]

# Python's `$` also matches before a last newline, JSON Schema's does not: `(?!\n)` makes them the same.
TenantId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$(?!\n)")]
PoolName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$(?!\n)")]
Label = Annotated[str, msgspec.Meta(max_length=100)]
Subject = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$(?!\n)")]
Priority = Annotated[int, msgspec.Meta(ge=0, le=9)]


class Tenant(msgspec.Struct, frozen=True):
    """A customer: which pools it may use, within which limits."""

    id: TenantId
    name: Label
    status: Literal["active", "suspended"] = "active"
    limits: Limits = DEFAULT_LIMITS
    pools: tuple[PoolName, ...] = ()
    pins: Mapping[str, str] = {}  # pool -> the one target this tenant's calls may run on
    priority: Priority = 5
    created_ms: int = 0


class Scopes(msgspec.Struct, frozen=True):
    """What a key is narrowed to. Empty means everything its role and tenant allow."""

    pools: tuple[PoolName, ...] = ()
    surfaces: tuple[Surface, ...] = ()


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
