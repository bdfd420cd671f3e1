"""The seam behind which books and shards are kept: `store.py` for DynamoDB, `memory.py` for its twin."""

from collections.abc import Iterable
from typing import Protocol

from chalicelib.admission.shares.book import Book, Shard
from chalicelib.admission.shares.sync import Sync


class Keeping(Protocol):
    """Books and shards of this region, each changed by single conditional writes. May raise StoreUnavailable."""

    def book(self, tenant: str) -> Book | None:
        """The book now (strongly consistent), None if there is none."""

    def put(self, tenant: str, book: Book) -> bool:
        """Replace the book of the version before; False if that is not the one that is there."""

    def look(self, tenant: str, numbers: Iterable[int]) -> dict[int, Shard]:
        """These shards now (strongly consistent), as far as they have been made."""

    def make(self, tenant: str, number: int) -> None:
        """A shard without shares, unless it is there."""

    def sync(self, sync: Sync) -> bool:
        """Make the write if all its conditions hold; whether they did."""
