"""Heads: what a day's chains were, signed, so that nobody can write the day anew with hashes that fit. Pure.

    the message that is signed = SHA-256("cloister ledger head v1\\n" head), where the head is JSON

A head names the hash of the head before it. A day with very many entries has several heads, one after the other.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from chalicelib.ledger.records import Kept

DOMAIN = b"cloister ledger head v1\n"
MARK_BYTES = 3  # four characters of base64, so that marks of many links are simply joined
UNMARKED = base64.b64encode(bytes(MARK_BYTES)).decode()
MOST_BYTES = 300_000
"""Of one head: DynamoDB's items end at 400 KB."""

DAY_S = 86_400
_CHAIN_BYTES = 160  # of a chain besides its marks


class ChainEnd(msgspec.Struct, frozen=True):
    """One chain as it was. `marks`: base64 of 3 bytes of each link's hash; they tell which link was changed."""

    chain: str
    count: int
    hash: str  # of the last link
    marks: str


class Head(msgspec.Struct, frozen=True):
    """What is signed of a tenant's day. Whatever is in it should be there, as it was, until `expires_s`."""

    tenant: str
    day: str
    part: int  # from 1
    parts: int
    previous: str  # base64 of SHA-256 of the head before this one, whenever that was; "" in the first
    signed_s: int
    expires_s: int  # when the day's first entry may be deleted
    chains: tuple[ChainEnd, ...]


class SignedHead(msgspec.Struct, frozen=True):
    """A head as it is kept."""

    text: str  # the Head as JSON
    signature: str  # base64 of the DER form

    @property
    def head(self) -> Head:
        return msgspec.json.decode(self.text, type=Head)

    @property
    def hash(self) -> str:
        return base64.b64encode(digest(self.text)).decode()


def digest(text: str) -> bytes:
    """The message that is signed for a head's text: KMS takes no longer one than 4,096 bytes."""
    return hashlib.sha256(DOMAIN + text.encode()).digest()


def place(day: str, part: int) -> str:
    """Where a head stands among all of its tenant: sorts by day and part."""
    return f"{day}#{part:03}"


class Summary(msgspec.Struct, frozen=True):
    """A day's chains, in the order of their ids, and when the first of their entries may be deleted."""

    chains: tuple[ChainEnd, ...]
    expires_s: int


def summary(entries: Iterable[Kept]) -> Summary | None:
    """What is to be signed of these entries; None where none is chained."""
    links: dict[str, dict[int, str]] = {}
    expires_s = 0
    for kept in entries:
        if kept.link is not None:
            links.setdefault(kept.link.chain, {})[kept.link.seq] = kept.link.hash
            expires_s = min(kept.expires_s, expires_s or kept.expires_s)
    if not links:
        return None
    if any(len(hashes) < max(hashes) for hashes in links.values()):
        # Retention may have taken those that are missing already: up to a day before the first of those that are left.
        expires_s -= DAY_S
    return Summary(tuple(_end(chain, links[chain]) for chain in sorted(links)), expires_s)


def _end(chain: str, hashes: Mapping[int, str]) -> ChainEnd:
    count = max(hashes)
    # One that is missing already is told by its absence, not by its mark.
    marks = "".join(hashes[seq][: len(UNMARKED)] if seq in hashes else UNMARKED for seq in range(1, count + 1))
    return ChainEnd(chain, count, hashes[count], marks)


def parted(chains: Iterable[ChainEnd]) -> Iterator[tuple[ChainEnd, ...]]:
    """The chains in as many parts as it takes for each to fit into one item."""
    part: list[ChainEnd] = []
    size = 0
    for chain in chains:
        needed = _CHAIN_BYTES + len(chain.marks)
        if part and size + needed > MOST_BYTES:
            yield tuple(part)
            part, size = [], 0
        part.append(chain)
        size += needed
    if part:
        yield tuple(part)
