"""Signing each day's heads, once the day is over."""

import base64
from collections.abc import Callable, Iterable, Iterator

import msgspec

from chalicelib.ledger.chain import DAY_MS, day_of, start_ms
from chalicelib.ledger.head import Head, SignedHead, digest, parted, place, summary
from chalicelib.ledger.heads import Heads
from chalicelib.ledger.records import Kept, Ledger
from chalicelib.refusal import StoreUnavailable

SETTLED_MS = 2 * 3_600_000
"""After a day's end: by then its last answers have ended, and the leases of the dead were found."""

CATCH_UP_DAYS = 7
PAGE = 1_000


class CannotSign(Exception):
    """The key cannot be used. The text is for operators."""


class Notary:
    """Reads what the ledger has of a day, and signs it. Running it again, or twice at once, does no harm."""

    def __init__(self, ledger: Ledger, heads: Heads, sign: Callable[[bytes], bytes]) -> None:
        """`sign` gives the DER form of an ECDSA signature over SHA-256, or raises CannotSign."""
        self._ledger = ledger
        self._heads = heads
        self._sign = sign

    def sign_due(self, tenants: Iterable[str], now_ms: int) -> int:
        """Sign the days of these tenants that are over and have no head yet; how many heads that made.

        Raises: StoreUnavailable, CannotSign; after having tried every tenant.
        """
        signed = 0
        failed: StoreUnavailable | CannotSign | None = None
        for tenant in tenants:
            try:
                signed += sum(1 for _ in self._signed(tenant, now_ms))
            except (StoreUnavailable, CannotSign) as error:
                failed = error
        if failed:
            raise failed
        return signed

    def _signed(self, tenant: str, now_ms: int) -> Iterator[SignedHead]:
        last = self._heads.last(tenant)
        for day in due(last.head if last else None, now_ms):
            found = summary(self._entries(tenant, day))
            if found is None:
                continue
            parts = list(parted(found.chains))
            for number, chains in enumerate(parts, 1):
                if last and last.head.day == day and number <= last.head.part:
                    continue  # a run before this one was cut off after it
                previous = last.hash if last else ""
                head = Head(tenant, day, number, len(parts), previous, now_ms // 1_000, found.expires_s, chains)
                last = self._sealed(head)
                if not self._heads.put_if_absent(tenant, place(day, number), last):
                    return  # another run is at it
                yield last

    def _sealed(self, head: Head) -> SignedHead:
        text = msgspec.json.encode(head).decode()
        return SignedHead(text, base64.b64encode(self._sign(digest(text))).decode())

    def _entries(self, tenant: str, day: str) -> Iterator[Kept]:
        first = start_ms(day)
        cursor = None
        while True:
            found, cursor = self._ledger.kept(tenant, first, first + DAY_MS, cursor, PAGE)
            yield from found
            if cursor is None:
                return


def due(last: Head | None, now_ms: int) -> list[str]:
    """The days that are over and are not, or not wholly, in a head; oldest first, none of longer ago than a week."""
    newest = (now_ms - SETTLED_MS) // DAY_MS - 1
    oldest = newest - CATCH_UP_DAYS + 1
    if last is not None:
        oldest = max(oldest, start_ms(last.day) // DAY_MS + int(last.part == last.parts))
    return [day_of(number * DAY_MS) for number in range(oldest, newest + 1)]
