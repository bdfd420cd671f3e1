"""Entries, and what a day's chains look like."""

from collections.abc import Iterable

from chalicelib.ledger import Entry, Ledger, Units, lease_id_of
from chalicelib.ledger.chain import DAY_MS, START, digest, start_ms
from chalicelib.ledger.records import Kept

DAY = "2026-11-18"
T0 = start_ms(DAY) + 3_600_000


def entry(at_ms: int = T0, *, tenant: str = "acme", chance: int = 0, tokens: int = 7, settled_ms: int = 0) -> Entry:
    return Entry(
        tenant=tenant,
        lease_id=lease_id_of(at_ms, chance),
        request_id="req",
        outcome="completed",
        reason="",
        used=Units(requests=1, tokens=tokens),
        charged=Units(requests=1, tokens=tokens),
        admitted_ms=at_ms,
        settled_ms=settled_ms or at_ms + 5,
        region="us-east-1",
    )


def kept(ledger: Ledger, day: str = DAY, tenant: str = "acme") -> list[Kept]:
    """The day's entries, in the order of their chains."""
    found: list[Kept] = []
    cursor = None
    while True:
        page, cursor = ledger.kept(tenant, start_ms(day), start_ms(day) + DAY_MS, cursor, 1_000)
        found += page
        if cursor is None:
            break
    return sorted(found, key=lambda each: (each.link.chain, each.link.seq) if each.link else ("", 0))


def assert_unbroken(found: Iterable[Kept]) -> None:
    """Every chain goes from its first link to its last, and every hash is that of its text."""
    before: dict[str, tuple[int, str]] = {}
    for each in found:
        assert each.link is not None
        seq, prev = before.get(each.link.chain, (0, START))
        assert (each.link.seq, each.link.prev) == (seq + 1, prev)
        assert each.link.hash == digest(each.link.chain, each.link.seq, prev, each.expires_s, each.text)
        before[each.link.chain] = (each.link.seq, each.link.hash)
