"""Every implementation of the seams, to run one suite over all of them."""

from typing import Literal

import msgspec

from chalicelib.admission import Admission
from chalicelib.admission.memory import MemoryMeters
from chalicelib.admission.shares.memory import MemoryKeeping
from chalicelib.admission.shares.store import DynamoKeeping
from chalicelib.admission.store import DynamoMeters
from chalicelib.dynamodb import Tables
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.ledger.store import DynamoLedger
from tests.admission.arrange import REGION
from tests.stores import Served, fresh_tables

BackingName = Literal["memory", "local", "ministack"]
BACKINGS: tuple[BackingName, ...] = ("memory", "local", "ministack")
LEASE_MS = 90_000


class Backing(msgspec.Struct, frozen=True):
    """Meters (and epochs), books and shards, with their ledger (and claims)."""

    meters: MemoryMeters | DynamoMeters
    keeping: MemoryKeeping | DynamoKeeping
    ledger: MemoryLedger | DynamoLedger

    def sandbox(self, lease_ms: int = LEASE_MS) -> Admission:
        """One more process, as far as caches are concerned. It never pauses."""
        return Admission(self.meters, self.ledger, lease_ms=lease_ms, region=REGION, pause=_no_pause)


def open_backing(name: BackingName, stores: Served) -> Backing:
    if name == "memory":
        meters = MemoryMeters()
        return Backing(meters, MemoryKeeping(meters), MemoryLedger())
    return backing_over(fresh_tables(stores.url(name)))


def backing_over(tables: Tables) -> Backing:
    """In DynamoDB."""
    return Backing(DynamoMeters(tables, REGION), DynamoKeeping(tables, REGION), DynamoLedger(tables))


def _no_pause(pause_ms: int) -> None:
    return None
