"""Books and shards in memory, beside meters in memory. For tests, and to try things out."""

import threading
from collections.abc import Iterable

from chalicelib.admission.memory import MemoryMeters
from chalicelib.admission.meter import Meter
from chalicelib.admission.shares.book import UNSHARED, Book, Shard, meter_of, read, written
from chalicelib.admission.shares.sync import Sync


class MemoryKeeping:
    """Implements Keeping."""

    def __init__(self, meters: MemoryMeters) -> None:
        self._meters = meters
        self._lock = threading.Lock()
        self._books: dict[str, Book] = {}
        self._shares: dict[tuple[str, int], str] = {}  # (meter, its stamp) -> as it would stand in the item

    def book(self, tenant: str) -> Book | None:
        return self._books.get(tenant)

    def put(self, tenant: str, book: Book) -> bool:
        with self._lock:
            there = self._books.get(tenant)
            if (there.version if there else 0) != book.version - 1:
                return False
            self._books[tenant] = book
            return True

    def look(self, tenant: str, numbers: Iterable[int]) -> dict[int, Shard]:
        found = {}
        for number in numbers:
            name = meter_of(tenant, number)
            meter = self._meters.reading(name)
            if meter is not None:
                found[number] = Shard(number, *read(self._shares.get((name, meter.epoch), ";")), meter)
        return found

    def make(self, tenant: str, number: int) -> None:
        self._meters.open(meter_of(tenant, number), UNSHARED)

    def sync(self, sync: Sync) -> bool:
        def change(meter: Meter) -> Meter | None:
            if not sync.holds(meter):
                return None
            # First, because it is read without the lock; a stamp is never given twice.
            self._shares[sync.meter, sync.stamp] = written(sync.granted, sync.returned, sync.held)
            return sync.apply(meter)

        return self._meters.change(sync.meter, change)
