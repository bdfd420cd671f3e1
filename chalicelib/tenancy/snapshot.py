"""What a sandbox remembers of a tenant, together with the epoch it is true for.

Nothing here expires. A cached snapshot is proved current by the admission write, whose condition names
its epoch; whoever does not admit asks for a fresh one.

Whom nobody knows learns nothing by our time either: a stranger costs two reads, of the epoch and of the one document
that would make them known, whether there is such a tenant or not, and whether it is remembered or not. So a stranger is
refused on what was read just now alone, and leaves nothing behind in memory.
"""

from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any, Protocol, TypeVar

import msgspec

from chalicelib.admission import Epochs, NoMeter
from chalicelib.documents import PLATFORM, Documents
from chalicelib.pool import Pool
from chalicelib.refusal import NotFound
from chalicelib.tenancy.guardrails import DOCUMENT, Guardrails, guardrails_of
from chalicelib.tenancy.ownership import Owner
from chalicelib.tenancy.people import Person, member_document, person_document
from chalicelib.tenancy.principals import owner_document
from chalicelib.tenancy.sessions import Session
from chalicelib.tenancy.tenant import Key, Member, Tenant

T = TypeVar("T")
K = TypeVar("K", Key, Session)

MOST_TENANTS = 1_000
MOST_KEYS = 10_000
MOST_PEOPLE = 10_000
MOST_PRINCIPALS = 10_000


class Snapshot(msgspec.Struct, frozen=True):
    """A tenant and its pools as they were at an epoch."""

    epoch: int
    tenant: Tenant
    pools: Mapping[str, Pool]  # those the tenant may use
    aliases: Mapping[str, str] = {}  # other names of theirs
    guardrails: Guardrails | None = None  # what may be said, where the tenant has rules of that

    def pool(self, name: str) -> Pool | None:
        """The pool that the tenant calls so. Its own name comes first, and no name leads to one it may not use."""
        return self.pools.get(name) or self.pools.get(self.aliases.get(name, ""))


def _aliases(tenant: Tenant, pools: Mapping[str, Pool]) -> Mapping[str, str]:
    """The tenant's own aliases, then those of its pools, of which the first has one that several have."""
    ordered = [pools[name] for name in reversed(tenant.pools) if name in pools]
    shared = {alias: pool.name for pool in ordered for alias in pool.aliases}
    every = {**shared, **tenant.aliases}
    return {alias: name for alias, name in every.items() if name in pools and alias not in pools}


class Reading(Protocol):
    """Tenants, as one request reads them. Every method may raise StoreUnavailable."""

    def __call__(self, tenant: str) -> Snapshot:
        """Raises NotFound."""

    def keyed(self, form: type[K], tenant: str, key_id: str, good: Callable[[K], bool]) -> tuple[K, Snapshot] | None:
        """The key, or session, as of the snapshot's epoch, if it is there and good; and its tenant. Any other costs two
        reads.

        A member's is what it may be while they hold their role, and is there only while they are.
        """

    def person(self, tenant: str, issuer: str, sub: str) -> tuple[Member, Snapshot] | None:
        """The member whom the issuer calls `sub`, as of the snapshot's epoch, if they have joined; and their tenant.

        Whoever is no member costs two reads. The tenant has the member's role, whatever it is called.
        """

    def where(self, tenant: str, opens: Callable[[Tenant], bool]) -> Snapshot | None:
        """The tenant, if it is there and opens to whoever asks. Any other costs two reads."""

    def owners(self, principal: str) -> Iterator[str]:
        """The tenants whose IAM principal it may be: a hint, which that tenant's snapshot bears out or not.

        First the one that this sandbox remembers, then the one that the store knows.
        """


class Snapshots:
    """This sandbox's memory of tenants and keys, and three ways to read them. Safe to use from many threads."""

    def __init__(self, documents: Documents, epochs: Epochs) -> None:
        self._fresh = _Fresh(documents, epochs)
        self.fresh: Reading = self._fresh
        """What was current when it was asked for."""
        self.cached: Reading = _Cached(self._fresh)
        """What is remembered, where there is something that will do: for whoever admits."""
        self.held: Reading = _Held(self._fresh)
        """What is remembered, however old, and nothing else: no store is asked, and who is not found may be there."""

    def remembered(self, tenant: str) -> Snapshot | None:
        return self._fresh.snapshots.get(tenant)


class _Cached:
    """Implements Reading."""

    def __init__(self, fresh: "_Fresh") -> None:
        self._fresh = fresh

    def __call__(self, tenant: str) -> Snapshot:
        return self._fresh.snapshots.get(tenant) or self._fresh(tenant)

    def keyed(self, form: type[K], tenant: str, key_id: str, good: Callable[[K], bool]) -> tuple[K, Snapshot] | None:
        held = self._fresh.snapshots.get(tenant)
        key = held and self._fresh.key_at(held.epoch, form, key_id)
        if held and key and good(key):
            return key, held
        return self._fresh.keyed(form, tenant, key_id, good)

    def person(self, tenant: str, issuer: str, sub: str) -> tuple[Member, Snapshot] | None:
        held = self._fresh.snapshots.get(tenant)
        member = held and self._fresh.person_at(held.epoch, tenant, person_document(issuer, sub))
        return (member, held) if held and member else self._fresh.person(tenant, issuer, sub)

    def where(self, tenant: str, opens: Callable[[Tenant], bool]) -> Snapshot | None:
        held = self._fresh.snapshots.get(tenant)
        return held if held and opens(held.tenant) else self._fresh.where(tenant, opens)

    def owners(self, principal: str) -> Iterator[str]:
        return self._fresh.owners(principal)


class _Held:
    """Implements Reading."""

    def __init__(self, fresh: "_Fresh") -> None:
        self._fresh = fresh

    def __call__(self, tenant: str) -> Snapshot:
        held = self._fresh.snapshots.get(tenant)
        if held is None:
            raise NotFound(f"The tenant {tenant} is not remembered.")
        return held

    def keyed(self, form: type[K], tenant: str, key_id: str, good: Callable[[K], bool]) -> tuple[K, Snapshot] | None:
        held, key = self._fresh.snapshots.get(tenant), self._fresh.keys[form].get(key_id)
        return (key[1], held) if held and key and good(key[1]) else None

    def person(self, tenant: str, issuer: str, sub: str) -> tuple[Member, Snapshot] | None:
        held = self._fresh.snapshots.get(tenant)
        member = self._fresh.people.get(f"{tenant}#{person_document(issuer, sub)}")
        return (member[1], held) if held and member else None

    def where(self, tenant: str, opens: Callable[[Tenant], bool]) -> Snapshot | None:
        held = self._fresh.snapshots.get(tenant)
        return held if held and opens(held.tenant) else None

    def owners(self, principal: str) -> Iterator[str]:
        owner = self._fresh.known_owners.get(principal)
        return iter(()) if owner is None else iter((owner,))


class _Fresh:
    """Implements Reading, and remembers what it has read."""

    def __init__(self, documents: Documents, epochs: Epochs) -> None:
        self.snapshots: dict[str, Snapshot] = {}
        self._documents = documents
        self._epochs = epochs
        self.keys: dict[type[Any], dict[str, tuple[int, Any]]] = {Key: {}, Session: {}}
        self.people: dict[str, tuple[int, Member]] = {}
        self.known_owners: dict[str, str] = {}
        self._lock = Lock()

    def __call__(self, tenant: str) -> Snapshot:
        epoch = self._epoch(tenant)
        snapshot = None if epoch is None else self._at(epoch, tenant)
        if snapshot is None:
            raise NotFound(f"There is no tenant {tenant}.")
        return snapshot

    def keyed(self, form: type[K], tenant: str, key_id: str, good: Callable[[K], bool]) -> tuple[K, Snapshot] | None:
        epoch = self._epoch(tenant)
        known = None if epoch is None else self.key_at(epoch, form, key_id)
        if epoch is not None and known is not None and good(known):
            snapshot = self._at(epoch, tenant)
            return None if snapshot is None else (known, snapshot)
        key = self._value(tenant, f"{form.DOCUMENT}{key_id}", form)  # also where there is no such tenant
        if epoch is None or key is None or not good(key):
            return None
        snapshot = self._at(epoch, tenant)
        if snapshot is not None and key.member is not None:
            key = self._as_of_its_member(key, key.member, snapshot)
        if snapshot is None or key is None:
            return None
        self._remember(self.keys[form], key_id, (epoch, key), MOST_KEYS)
        return key, snapshot

    def _as_of_its_member(self, key: K, subject: str, snapshot: Snapshot) -> K | None:
        member = self._value(key.tenant, member_document(subject), Member)
        holder = None if member is None else snapshot.tenant.role(member.role)
        return None if member is None or holder is None else key.as_of(member, holder)

    def key_at(self, epoch: int, form: type[K], key_id: str) -> K | None:
        """The key, where it is remembered as of this epoch of its tenant."""
        held = self.keys[form].get(key_id)
        return held[1] if held and held[0] == epoch else None

    def person(self, tenant: str, issuer: str, sub: str) -> tuple[Member, Snapshot] | None:
        epoch, name = self._epoch(tenant), person_document(issuer, sub)
        known = None if epoch is None else self.person_at(epoch, tenant, name)
        if epoch is not None and known is not None:
            snapshot = self._at(epoch, tenant)
            return None if snapshot is None else (known, snapshot)
        person = self._value(tenant, name, Person)  # also where there is no such tenant
        if epoch is None or person is None:
            return None
        member = self._value(tenant, member_document(person.subject), Member)
        snapshot = self._at(epoch, tenant)
        if snapshot is None or member is None or not member.is_called(issuer, sub):
            return None
        if snapshot.tenant.role(member.role) is None:
            return None
        self._remember(self.people, f"{tenant}#{name}", (epoch, member), MOST_PEOPLE)
        return member, snapshot

    def person_at(self, epoch: int, tenant: str, name: str) -> Member | None:
        """The member, where they are remembered as of this epoch of their tenant."""
        held = self.people.get(f"{tenant}#{name}")
        return held[1] if held and held[0] == epoch else None

    def where(self, tenant: str, opens: Callable[[Tenant], bool]) -> Snapshot | None:
        epoch = self._epoch(tenant)
        held = self.snapshots.get(tenant)
        if held and held.epoch == epoch and opens(held.tenant):
            return held
        record = self._record(tenant)  # also where there is no such tenant
        if epoch is None or record is None or not opens(record):
            return None
        return self._read(epoch, record)

    def owners(self, principal: str) -> Iterator[str]:
        remembered = self.known_owners.get(principal)
        if remembered is not None:
            yield remembered
        owner = self._value(PLATFORM, owner_document(principal), Owner)
        if owner is not None:
            self._remember(self.known_owners, principal, owner.tenant, MOST_PRINCIPALS)
            yield owner.tenant

    def _epoch(self, tenant: str) -> int | None:
        try:
            return self._epochs.read(tenant)
        except NoMeter:
            return None

    def _at(self, epoch: int, tenant: str) -> Snapshot | None:
        held = self.snapshots.get(tenant)
        if held and held.epoch == epoch:
            return held
        record = self._record(tenant)
        return None if record is None else self._read(epoch, record)

    def _record(self, tenant: str) -> Tenant | None:
        return self._value(tenant, "tenant", Tenant)

    def _value(self, tenant: str, name: str, form: type[T]) -> T | None:
        document = self._documents.get(tenant, name)
        return None if document is None else msgspec.json.decode(document.text, type=form)

    def _read(self, epoch: int, record: Tenant) -> Snapshot:
        # The epoch was read first: what is read after it is at least as new (see the package's text).
        pools = (msgspec.json.decode(held.text, type=Pool) for held in self._documents.under(PLATFORM, "pool#"))
        usable = {pool.name: pool for pool in pools if pool.name in record.pools}
        guardrails = guardrails_of(self._documents.get(record.id, DOCUMENT)) if record.guarded else None
        snapshot = Snapshot(epoch, record, usable, _aliases(record, usable), guardrails)
        self._remember(self.snapshots, record.id, snapshot, MOST_TENANTS)
        return snapshot

    def _remember(self, memory: dict[str, T], name: str, value: T, most: int) -> None:
        """The oldest goes when there are too many."""
        with self._lock:
            if name not in memory and len(memory) >= most:
                del memory[next(iter(memory))]
            memory[name] = value
