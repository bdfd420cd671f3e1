"""The seam behind which heads are kept."""

from typing import NamedTuple, Protocol

from chalicelib.ledger.head import SignedHead


class HeadPage(NamedTuple):
    """Heads, oldest first; `cursor` continues where they end, None at the end of all."""

    heads: tuple[SignedHead, ...]
    cursor: str | None


class Heads(Protocol):
    """Signed heads, none of which is ever changed. Places are `head.place`. Methods may raise StoreUnavailable."""

    def put_if_absent(self, tenant: str, place: str, head: SignedHead) -> bool:
        """Keep the head; False where another one is there already."""

    def last(self, tenant: str) -> SignedHead | None:
        """The newest head."""

    def page(self, tenant: str, first: str, end: str, cursor: str | None, limit: int) -> HeadPage:
        """At most `limit` heads with places in [first, end)."""
