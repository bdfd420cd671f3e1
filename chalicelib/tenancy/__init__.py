"""Tenants, their keys, members and IAM principals, the pools that they may use, and what they seal with.

    tenant       what we know of a customer: values     key_text     the text of an API key
    snapshot     what a sandbox remembers of them       records      documents, changed in the order told below
    principals   the IAM principals that sign           kms_keys     the KMS keys that tenants seal with
    validity     what of it may be put                  set_limits   what a divided meter's shares are of
    ownership    of whom they are, alone                key_epochs   the lives of the fleet's keys
    people       the members, and who they are          inference_profiles   through which Bedrock's were reached
    issuers      whose tokens they come in with         guardrails   what may be said to models, and by them
    sources      from where they come in                sessions     theirs, of browsers
    allowed      which surfaces, pools and routes a tenant lets its callers use
    closing      what is left of one whose data is erased
    velocity     how many different prompts, keys and addresses they call with, and findings they have

Whatever a sandbox may have cached is changed in one order: first the document, then the epoch on the
meter. A sandbox that reads in the other order (epoch first, see `snapshot`) can then hold an old
document only under an old epoch, and the next admission with that epoch fails.

Whoever dies between the two has changed the document, and no warm cache has heard of it. Every change is
therefore such that repeating it moves the epoch, even if there is nothing left to write. And a write that
failed may have landed (its answer was lost, and its repetition met its own version): the epoch moves then, too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from chalicelib.admission import Epochs, check
from chalicelib.admission.limits import Limits
from chalicelib.clock import Clock
from chalicelib.documents import PLATFORM, Document, Documents
from chalicelib.pool import Pool
from chalicelib.randomness import Randomness
from chalicelib.refusal import Conflict, Malformed
from chalicelib.tenancy.guardrails import GuardrailRules, OfferedGuardrails
from chalicelib.tenancy.issuers import Issuers
from chalicelib.tenancy.key_epochs import KeyEpochs
from chalicelib.tenancy.key_text import KeyText, digest_of, mint
from chalicelib.tenancy.kms_keys import KmsKeys
from chalicelib.tenancy.people import People, member_document
from chalicelib.tenancy.principals import Principals
from chalicelib.tenancy.records import Records, text, value
from chalicelib.tenancy.sessions import Sessions
from chalicelib.tenancy.sources import Sources
from chalicelib.tenancy.tenant import (
    Aliases,
    Key,
    Label,
    Origins,
    PoolName,
    Priority,
    RetentionDays,
    Role,
    Scopes,
    Subject,
    Tenant,
)
from chalicelib.tenancy.velocity import VelocityRules
from guard import Rules

if TYPE_CHECKING:
    from chalicelib.tenancy.closing import Closing

PLATFORM_TENANT = "platform"
"""The operator's own tenant: its owner keys open the admin surface, and it is never admitted to a pool."""

NO_POOLS = "The platform's own tenant uses no pools and cannot be suspended."


class Change(msgspec.Struct, frozen=True):
    """What an operator may change of a tenant; a member left out stays as it is."""

    name: Label | None = None
    status: Literal["active", "suspended"] | None = None
    limits: Limits | None = None
    pools: tuple[PoolName, ...] | None = None
    pins: dict[str, str] | None = None
    priority: Priority | None = None
    origins: Origins | None = None
    retention_days: RetentionDays | None = None
    aliases: Aliases | None = None


class Tenancy:
    """Every change of tenants, keys, members and pools. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(
        self,
        documents: Documents,
        epochs: Epochs,
        clock: Clock,
        randomness: Randomness,
        on_change: Callable[[str], None] = lambda _tenant: None,
        on_limits: Callable[[str, Limits], None] = lambda _tenant, _limits: None,
    ) -> None:
        """`on_change` is told of each tenant whose epoch has moved: this sandbox may remember more than snapshots.

        `on_limits` is told of limits that were set, once they hold: they may ask for a meter of several parts.
        """
        self._records = Records(documents, epochs, on_change)
        self.documents = documents
        """For who looks at tenants as a whole; what is changed here goes by the methods."""
        self._clock = clock
        self._randomness = randomness
        self._on_limits = on_limits
        self.kms_keys = KmsKeys(self._records, clock)
        self.key_epochs = KeyEpochs(self._records, clock)
        self.principals = Principals(self._records)
        self.people = People(self._records, clock)
        self.issuers = Issuers(self._records)
        self.guardrails = GuardrailRules(self._records, clock)
        self.offered_guardrails = OfferedGuardrails(self._records)
        self.sources = Sources(self._records)
        self.sessions = Sessions(self._records, clock, randomness)
        self.velocity = VelocityRules(self._records)

    @property
    def closing(self) -> "Closing":
        from chalicelib.tenancy.closing import Closing  # not at the top: no request to a model waits for it

        return Closing(self._records, self._clock)

    # tenants

    def create_tenant(self, tenant: Tenant) -> Tenant:
        """Raises Malformed, for limits that cannot be kept and aliases of no pool; Conflict."""
        _must_hold(tenant.limits)
        if tenant.id == PLATFORM_TENANT and tenant.pools:
            raise Conflict(NO_POOLS)
        _must_name_pools(tenant.aliases, tenant)
        created = msgspec.structs.replace(tenant, created_ms=self._clock())
        # The meter first: a tenant without one could not be repaired by creating it again.
        self._records.open(tenant.id, created.created_ms)
        self._records.create(Document(tenant.id, "tenant", text(created)), f"the tenant {tenant.id}")
        self._on_limits(tenant.id, created.limits)
        return created

    def tenant(self, tenant_id: str) -> Tenant:
        return value(self._records.get(tenant_id, "tenant", f"tenant {tenant_id}"), Tenant)

    def tenants(self) -> Sequence[Tenant]:
        return [value(document, Tenant) for document in self._records.tenants()]

    def change_tenant(self, tenant_id: str, change: Change) -> Tenant:
        """True from the tenant's next request on, in every region that has a meter of it.

        Raises NotFound; Malformed, as create_tenant; Conflict, also for what would let the operator's own
        tenant run models or lock it out.
        """
        if change.limits is not None:
            _must_hold(change.limits)
        if tenant_id == PLATFORM_TENANT and (change.pools or change.status == "suspended"):
            raise Conflict(NO_POOLS)
        named = {name: said for name, said in msgspec.structs.asdict(change).items() if said is not None}

        def changed(tenant: Tenant) -> Tenant:
            if tenant.status == "erased":
                from chalicelib.tenancy.closing import ERASED

                raise Conflict(ERASED)
            if tenant.status == "taken_down" and change.status == "suspended":
                raise Conflict("The tenant was taken down, which is more. Only `active` brings it back.")
            after = msgspec.structs.replace(tenant, **named)
            _must_name_pools(change.aliases or {}, after)
            return after

        after = self._records.change_tenant(tenant_id, changed)
        if change.limits is not None:
            self._on_limits(tenant_id, after.limits)
        return after

    def take_down(self, tenant_id: str) -> Tenant:
        """It is refused from its next request on, its streams end, and the keys and sessions that it has open nothing
        ever again, also once `change_tenant` has made it active. Raises NotFound, Conflict."""
        if tenant_id == PLATFORM_TENANT:
            raise Conflict(NO_POOLS)
        now_ms = self._clock()
        return self._records.change_tenant(
            tenant_id, lambda tenant: msgspec.structs.replace(tenant, status="taken_down", taken_down_ms=now_ms)
        )

    # pools

    def put_pool(self, pool: Pool) -> Pool:
        """Create or replace a pool; every tenant that may use it sees the new one on its next request.

        Raises Conflict where another pool has one of its names already.
        """
        name = f"pool#{pool.name}"
        documents = {document.name: document for document in self._records.under(PLATFORM, "pool#")}
        held = documents.pop(name, None)
        _must_be_free(pool, [value(document, Pool) for document in documents.values()])
        created_s = value(held, Pool).created_s if held else self._clock() // 1000
        stored = msgspec.structs.replace(pool, created_s=created_s)
        try:
            self._records.write(Document(PLATFORM, name, text(stored), held.version if held else 0))
        finally:
            self._bump_users_of(pool.name)
        return stored

    def pool(self, name: str) -> Pool:
        return value(self._records.get(PLATFORM, f"pool#{name}", f"pool {name}"), Pool)

    def pools(self) -> Sequence[Pool]:
        return [value(document, Pool) for document in self._records.under(PLATFORM, "pool#")]

    def delete_pool(self, name: str) -> None:
        try:
            self._records.delete(self._records.get(PLATFORM, f"pool#{name}", f"pool {name}"))
        finally:
            self._bump_users_of(name)

    # keys

    def create_key(
        self,
        tenant_id: str,
        role: Role,
        *,
        label: str = "",
        scopes: Scopes | None = None,
        expires_ms: int | None = None,
        member: Subject | None = None,
        guardrails: Rules | None = None,
        emergency: bool = False,
    ) -> tuple[Key, KeyText]:
        """A new key, and its text: the only time that the secret is seen.

        `member`: whose it is; None: the tenant's own.
        """
        self.tenant(tenant_id)
        holder = None
        if member is not None:
            holder = self._records.get(tenant_id, member_document(member), f"member {member}")
        key_text = mint(tenant_id, self._randomness(37))
        key = Key(
            id=key_text.key_id,
            tenant=tenant_id,
            digest=digest_of(key_text.secret),
            role=role,
            label=label,
            scopes=scopes or Scopes(),
            created_ms=self._clock(),
            expires_ms=expires_ms,
            member=member,
            guardrails=guardrails,
            emergency=emergency,
        )
        self._records.create(Document(tenant_id, f"key#{key.id}", text(key)), "the key")
        if member is not None and self._records.held(tenant_id, member_document(member)) != holder:
            self._forget_unseen(key)
            raise Conflict(f"Somebody else changed the member {member} at the same time. Repeat.")
        return key, key_text

    def keys(self, tenant_id: str) -> Sequence[Key]:
        documents = self._records.under(tenant_id, "key#")
        tenant = self._held(tenant_id)
        return [_as_of(value(document, Key), tenant) for document in documents]

    def key(self, tenant_id: str, key_id: str) -> Key:
        document = self._records.get(tenant_id, f"key#{key_id}", f"key {key_id}")
        return _as_of(value(document, Key), self._held(tenant_id))

    def revoke_key(self, tenant_id: str, key_id: str) -> Key:
        """From the next request on, anywhere, the key is refused. Idempotent."""
        document = self._records.get(tenant_id, f"key#{key_id}", f"key {key_id}")
        revoked = value(document, Key).revoked(self._clock())
        self._records.replace(document, revoked)
        return revoked

    def rotate_key(self, tenant_id: str, key_id: str, grace_ms: int) -> tuple[Key, KeyText]:
        """A new key in place of this one, which stays valid for `grace_ms` more."""
        document = self._records.get(tenant_id, f"key#{key_id}", f"key {key_id}")
        tenant = self._held(tenant_id)
        old = _as_of(value(document, Key), tenant)
        counted = tenant is not None and old.id in tenant.key_velocity
        now_ms = self._clock()
        if not old.valid(now_ms) or old.replaced_by is not None:
            self._records.bump(tenant_id)
            raise Conflict(f"Key {key_id} is revoked, expired or already rotated. Create a new key instead.")
        new, key_text = self.create_key(
            tenant_id,
            old.role,
            label=old.label,
            scopes=old.scopes,
            expires_ms=old.expires_ms,
            member=old.member,
            guardrails=old.guardrails,
        )
        ends_ms = now_ms + grace_ms if old.expires_ms is None else min(old.expires_ms, now_ms + grace_ms)
        try:
            if counted:
                self.velocity.hand_on(tenant_id, old.id, new.id)
            self._records.replace(document, msgspec.structs.replace(old, expires_ms=ends_ms, replaced_by=new.id))
        except Conflict:
            self._forget_unseen(new)
            if counted:
                self.velocity.forget_key(tenant_id, new.id)
            raise
        return new, key_text

    def _held(self, tenant_id: str) -> Tenant | None:
        document = self._records.held(tenant_id, "tenant")
        return value(document, Tenant) if document is not None else None

    def _forget_unseen(self, key: Key) -> None:
        """A key whose secret nobody has seen."""
        self._records.delete(self._records.get(key.tenant, f"key#{key.id}", "key"))

    def _bump_users_of(self, pool: str) -> None:
        for tenant in self.tenants():
            if pool in tenant.pools:
                self._records.bump(tenant.id)


def _as_of(key: Key, tenant: Tenant | None) -> Key:
    """Revoked, where its tenant was taken down since it was made."""
    if tenant is None or tenant.taken_down_ms is None or not tenant.outlived(key.created_ms):
        return key
    return key.revoked(tenant.taken_down_ms)


def _must_hold(limits: Limits) -> None:
    problems = check(limits)
    if problems:
        raise Malformed(" ".join(problems), field="limits")


def _must_be_free(pool: Pool, others: Iterable[Pool]) -> None:
    """Raises Conflict where one of the pool's names is another's.

    Two that come at once may both find it free. It is the first pool's then, in each tenant's own order.
    """
    for other in others:
        taken = {pool.name, *pool.aliases} & {other.name, *other.aliases}
        if taken:
            raise Conflict(f"{min(taken)} is a name of the pool {other.name} already. Choose another one.")


def _must_name_pools(aliases: Mapping[str, str], tenant: Tenant) -> None:
    """Raises Malformed unless these are names of the tenant's pools, and none of its aliases is a pool of its own."""
    for alias, pool in aliases.items():
        if pool not in tenant.pools:
            raise Malformed(
                f"{alias} would be a name of {pool}, which is not among the tenant's pools.", field="aliases"
            )
    for alias in tenant.aliases:
        if alias in tenant.pools:
            raise Malformed(f"{alias} is one of the tenant's pools: it cannot be another one's name.", field="aliases")
