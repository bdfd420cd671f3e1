"""What an auditor verifies: the entries of the ledger and of the log of changes as they are stored, and their heads."""

import re
from typing import Annotated, Literal

import msgspec

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.journal import log_of
from chalicelib.ledger.chain import DAY_MS, Link, day_of, start_ms
from chalicelib.ledger.head import SignedHead
from chalicelib.refusal import Malformed

surface = Surface(__name__, "management", title="Audit", prefix="/tenants/{tenant}/audit", auth="key")

ENTRIES = 500  # in one page: about a megabyte
HEADS = 10
_PLACE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}#[0-9]{3}")

Day = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)", description="a day in UTC, as 2026-11-21")
]
Cursor = Annotated[str, msgspec.Meta(max_length=200)]


class DayQuery(msgspec.Struct, frozen=True):
    """A day, in UTC, of the ledger or of the log of changes; `cursor` comes from the page before."""

    day: Day
    log: Literal["requests", "events"] = "requests"
    cursor: Cursor | None = None


class KeptEntry(msgspec.Struct, frozen=True):
    """An entry byte for byte, and its link; null where it was written before there were chains.

    `erased_ms`: since when it is a tombstone, whose text is empty; null of any other.
    """

    lease_id: str
    text: str
    expires_s: int
    link: Link | None
    erased_ms: int | None


class KeptEntries(msgspec.Struct, frozen=True):
    """Newest first; a `cursor` where there are more."""

    entries: list[KeptEntry]
    cursor: str | None


class SignedHeads(msgspec.Struct, frozen=True):
    """Oldest first; a `cursor` where there are more."""

    heads: tuple[SignedHead, ...]
    cursor: str | None


@surface.door(
    "GET", "/tenants/{tenant}/audit/entries", permission="usage.read",
    summary="A day's ledger, or its changes, byte for byte, with the hash chains", query=DayQuery, returns=KeptEntries,
)  # fmt: skip
def list_kept_entries(asked: Incoming, caller: Caller) -> KeptEntries:
    """For whoever verifies them: an entry's text is what its hash is of."""
    query = asked.query_as(DayQuery)
    first = _start(query.day)
    page = wiring.path().ledger.kept(_log(query, caller), first, first + DAY_MS, query.cursor, ENTRIES)
    entries = [KeptEntry(kept.lease_id, kept.text, kept.expires_s, kept.link, kept.erased_ms) for kept in page.kept]
    return KeptEntries(entries, page.cursor)


@surface.door(
    "GET", "/tenants/{tenant}/audit/heads", permission="usage.read",
    summary="What was signed of a day's hash chains", query=DayQuery, returns=SignedHeads,
)  # fmt: skip
def list_heads(asked: Incoming, caller: Caller) -> SignedHeads:
    """The heads that the platform's key signed when the day was over."""
    query = asked.query_as(DayQuery)
    end = day_of(_start(query.day) + DAY_MS)
    if query.cursor is not None and not (_PLACE.fullmatch(query.cursor) and query.day <= query.cursor < end):
        raise Malformed("`cursor` is not one that this query returned.", field="cursor")
    page = wiring.heads().page(_log(query, caller), query.day, end, query.cursor, HEADS)
    return SignedHeads(page.heads, page.cursor)


def _log(query: DayQuery, caller: Caller) -> str:
    tenant = caller.principal.tenant
    return tenant if query.log == "requests" else log_of(tenant)


def _start(day: str) -> int:
    try:
        start = start_ms(day)
    except ValueError:
        start = -1
    if start < 0:
        raise Malformed("`day` is no day since 1970, as 2026-11-21.", field="day")
    return start
