"""What a sandbox remembers of a tenant, together with the epoch it is true for.

Nothing here expires. A cached snapshot is proved current by the admission write, whose condition names
its epoch; whoever does not admit asks for a fresh one.
"""

from collections.abc import Mapping
from threading import Lock
from typing import TypeVar

import msgspec

from chalicelib.admission import Epochs, NoMeter
from chalicelib.clock import Clock
from chalicelib.documents import Documents
from chalicelib.pool import Pool
from chalicelib.refusal import NotFound
from chalicelib.tables import PLATFORM
from chalicelib.tenancy.principals import Claim, claim_name
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


class Snapshots:
    """This sandbox's memory of tenants and keys. Safe to use from many threads."""

    def __init__(self, documents: Documents, epochs: Epochs) -> None:
        self._documents = documents
        self._epochs = epochs
        self._snapshots: dict[str, Snapshot] = {}
        self._keys: dict[str, tuple[int, Key]] = {}
        self._claims: dict[str, str] = {}
        self._lock = Lock()

    def cached(self, tenant: str) -> Snapshot:
        """The snapshot remembered, or a fresh one. Raises NotFound; StoreUnavailable."""
        return self._snapshots.get(tenant) or self._read(tenant, self._epoch(tenant))

    def fresh(self, tenant: str) -> Snapshot:
        """A snapshot that was current when this was called. Raises NotFound; StoreUnavailable."""
        epoch = self._epoch(tenant)
        held = self._snapshots.get(tenant)
        return held if held and held.epoch == epoch else self._read(tenant, epoch)

    def key(self, snapshot: Snapshot, key_id: str) -> Key | None:
        """The key as of the snapshot's epoch or later."""
        held = self._keys.get(key_id)
        if held and held[0] == snapshot.epoch:
            return held[1]
        document = self._documents.get(snapshot.tenant.id, f"key#{key_id}")
        if document is None:
            return None
        key = msgspec.json.decode(document.text, type=Key)
        self._remember(self._keys, key_id, (snapshot.epoch, key), MOST_KEYS)
        return key

    def claimed(self, principal: str) -> str | None:
        """Whose principal it was when this sandbox last looked: a hint, which that tenant's snapshot bears out or not.

        Raises StoreUnavailable.
        """
        return self._claims.get(principal) or self.claimed_now(principal)

    def claimed_now(self, principal: str) -> str | None:
        """The tenant whose principal it is; None: nobody's. Raises StoreUnavailable."""
        document = self._documents.get(PLATFORM, claim_name(principal))
        if document is None:
            return None
        tenant = msgspec.json.decode(document.text, type=Claim).tenant
        self._remember(self._claims, principal, tenant, MOST_PRINCIPALS)
        return tenant

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
        snapshot = Snapshot(epoch, record, {pool.name: pool for pool in pools if pool.name in record.pools})
        self._remember(self._snapshots, tenant, snapshot, MOST_TENANTS)
        return snapshot

    def _remember(self, memory: dict[str, T], name: str, value: T, most: int) -> None:
        """The oldest goes when there are too many."""
        with self._lock:
            if name not in memory and len(memory) >= most:
                del memory[next(iter(memory))]
            memory[name] = value


class Offering:
    """Every pool there is, for /health: read at most once in `max_age_ms`."""

    def __init__(self, documents: Documents, clock: Clock, max_age_ms: int) -> None:
        self._documents = documents
        self._clock = clock
        self._max_age_ms = max_age_ms
        self._pools: list[Pool] = []
        self._read_ms: int | None = None

    def pools(self) -> list[Pool]:
        """Raises StoreUnavailable."""
        now_ms = self._clock()
        if self._read_ms is None or now_ms - self._read_ms > self._max_age_ms:
            self._pools = [
                msgspec.json.decode(held.text, type=Pool) for held in self._documents.under(PLATFORM, "pool#")
            ]
            self._read_ms = now_ms
        return self._pools
