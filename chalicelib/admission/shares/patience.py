"""How long one request may be held by work at its tenant's shares, which may be hundreds of calls."""

from collections.abc import Callable, Iterable

from chalicelib.admission.shares.book import Book, Shard
from chalicelib.admission.shares.keeping import Keeping
from chalicelib.admission.shares.sync import Sync
from chalicelib.refusal import StoreUnavailable

PATIENCE_MS = 2_000
"""Hundreds of calls of a store that is well, and two of one that is hardly answering.

Each call is progress: the next request goes on from there.
"""


class Patient:
    """Implements Keeping, for one request. PATIENCE_MS after its first call no more leave: it raises StoreUnavailable.

    What was begun is brought home by whoever comes next, as where a process died.
    """

    def __init__(self, keeping: Keeping, monotonic: Callable[[], int]) -> None:
        self._keeping = keeping
        self._monotonic = monotonic
        self._until_ms: int | None = None

    def book(self, tenant: str) -> Book | None:
        return self._in_time().book(tenant)

    def put(self, tenant: str, book: Book) -> bool:
        return self._in_time().put(tenant, book)

    def look(self, tenant: str, numbers: Iterable[int]) -> dict[int, Shard]:
        return self._in_time().look(tenant, numbers)

    def make(self, tenant: str, number: int) -> None:
        self._in_time().make(tenant, number)

    def sync(self, sync: Sync) -> bool:
        return self._in_time().sync(sync)

    def _in_time(self) -> Keeping:
        now_ms = self._monotonic()
        if self._until_ms is None:
            self._until_ms = now_ms + PATIENCE_MS
        if now_ms > self._until_ms:
            raise StoreUnavailable("shares take longer to be moved than a request waits")
        return self._keeping
