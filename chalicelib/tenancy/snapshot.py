"""What a sandbox remembers of a tenant, together with the epoch it is true for.

Nothing here expires. A cached snapshot is proved current by the admission write, whose condition names
its epoch; whoever does not admit asks for a fresh one.
"""

from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import TypeVar

import msgspec

from chalicelib.admission import Epochs, NoMeter
from chalicelib.documents import PLATFORM, Documents
from chalicelib.pool import Pool
from chalicelib.refusal import NotFound
from chalicelib.tenancy.ownership import Owner
from chalicelib.tenancy.principals import owner_document
from chalicelib.tenancy.tenant import Key, Tenant

T = TypeVar("T")

MOST_TENANTS = 1_000
MOST_KEYS = 10_000
MOST_PRINCIPALS = 10_000


class Snapshot(msgspec.Struct, frozen=True):
    """A tenant and its pools as they were at an epoch."""

    epoch: int
    tenant: Tenant
    pools: Mapping[str, Pool]  # those the tenant may use
    aliases: Mapping[str, str] = {}  # other names of theirs

    def pool(self, name: str) -> Pool | None:
        """The pool that the tenant calls so. Its own name comes first, and no name leads to one it may not use."""
        return self.pools.get(name) or self.pools.get(self.aliases.get(name, ""))


def _aliases(tenant: Tenant, pools: Mapping[str, Pool]) -> Mapping[str, str]:
    """The tenant's own aliases, then those of its pools, of which the first has one that several have."""
    ordered = [pools[name] for name in reversed(tenant.pools) if name in pools]
    shared = {alias: pool.name for pool in ordered for alias in pool.aliases}
    every = {**shared, **tenant.aliases}
    return {alias: name for alias, name in every.items() if name in pools and alias not in pools}


class Reading:
    """Tenants, as one request reads them. Every method may raise StoreUnavailable."""

    def __init__(self, memory: "_Memory", snapshot: Callable[[str], Snapshot]) -> None:
        self._memory = memory
        self._snapshot = snapshot

    def __call__(self, tenant: str) -> Snapshot:
        """Raises NotFound."""
        return self._snapshot(tenant)

    def key(self, snapshot: Snapshot, key_id: str) -> Key | None:
        """The key as of the snapshot's epoch or later."""
        return self._memory.key(snapshot, key_id)

    def owners(self, principal: str) -> Iterator[str]:
        """The tenants whose IAM principal it may be: a hint, which that tenant's snapshot bears out or not.

        First the one that this sandbox remembers, then the one that the store knows.
        """
        return self._memory.owners(principal)


class Snapshots:
    """This sandbox's memory of tenants and keys, and two ways to read them. Safe to use from many threads."""

    def __init__(self, documents: Documents, epochs: Epochs) -> None:
        memory = _Memory(documents, epochs)
        self.cached = Reading(memory, memory.cached)
        """What is remembered, where there is something: for whoever admits."""
        self.fresh = Reading(memory, memory.fresh)
        """What was current when it was asked for."""


class _Memory:
    def __init__(self, documents: Documents, epochs: Epochs) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._documents = documents
        self._epochs = epochs
        self._keys: dict[str, tuple[int, Key]] = {}
        self._owners: dict[str, str] = {}
        self._lock = Lock()

    def key(self, snapshot: Snapshot, key_id: str) -> Key | None:
        held = self._keys.get(key_id)
        if held and held[0] == snapshot.epoch:
            return held[1]
        document = self._documents.get(snapshot.tenant.id, f"key#{key_id}")
        if document is None:
            return None
        key = msgspec.json.decode(document.text, type=Key)
        self._remember(self._keys, key_id, (snapshot.epoch, key), MOST_KEYS)
        return key

    def owners(self, principal: str) -> Iterator[str]:
        remembered = self._owners.get(principal)
        if remembered is not None:
            yield remembered
        document = self._documents.get(PLATFORM, owner_document(principal))
        if document is not None:
            tenant = msgspec.json.decode(document.text, type=Owner).tenant
            self._remember(self._owners, principal, tenant, MOST_PRINCIPALS)
            yield tenant

    def cached(self, tenant: str) -> Snapshot:
        return self._snapshots.get(tenant) or self._read(tenant, self._epoch(tenant))

    def fresh(self, tenant: str) -> Snapshot:
        epoch = self._epoch(tenant)
        held = self._snapshots.get(tenant)
        return held if held and held.epoch == epoch else self._read(tenant, epoch)

    def _epoch(self, tenant: str) -> int:
        try:
            return self._epochs.read(tenant)
        except NoMeter:
            raise NotFound(f"There is no tenant {tenant}.") from None

    def _read(self, tenant: str, epoch: int) -> Snapshot:
        # The epoch was read first: what is read after it is at least as new (see the package's text).
        document = self._documents.get(tenant, "tenant")
        if document is None:
            raise NotFound(f"There is no tenant {tenant}.")
        record = msgspec.json.decode(document.text, type=Tenant)
        pools = (msgspec.json.decode(held.text, type=Pool) for held in self._documents.under(PLATFORM, "pool#"))
        usable = {pool.name: pool for pool in pools if pool.name in record.pools}
        snapshot = Snapshot(epoch, record, usable, _aliases(record, usable))
        self._remember(self._snapshots, tenant, snapshot, MOST_TENANTS)
        return snapshot

    def _remember(self, memory: dict[str, T], name: str, value: T, most: int) -> None:
        """The oldest goes when there are too many."""
        with self._lock:
            if name not in memory and len(memory) >= most:
                del memory[next(iter(memory))]
            memory[name] = value
