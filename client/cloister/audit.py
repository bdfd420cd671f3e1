"""Whether a ledger is what was written: its hash chains, and the heads that were signed of them. Pure.

docs/audit.md specifies the bytes; `vectors/audit` holds a day that the gateway and this program agree on. Who hands the
entries over is not trusted: whatever is not proved by a hash or a signature is a finding.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256

ENTRY_DOMAIN = "cloister ledger v1\n"
HEAD_DOMAIN = b"cloister ledger head v1\n"
START = base64.b64encode(bytes(32)).decode()
MARK = 4  # characters: base64 of three bytes
DAY_S = 86_400

Kind = Literal["changed", "removed", "reordered", "erased", "head"]


class Link(msgspec.Struct, frozen=True):
    chain: str
    seq: int
    prev: str
    hash: str


class Entry(msgspec.Struct, frozen=True):
    """An entry as the gateway stores it."""

    lease_id: str
    text: str
    expires_s: int
    link: Link | None
    erased_ms: int | None = None  # since then it is a tombstone: its text is gone, and its link is there


class SignedHead(msgspec.Struct, frozen=True):
    text: str
    signature: str

    @property
    def message(self) -> bytes:
        """What is signed."""
        return hashlib.sha256(HEAD_DOMAIN + self.text.encode()).digest()

    @property
    def hash(self) -> str:
        return base64.b64encode(self.message).decode()


class Day(msgspec.Struct, frozen=True):
    """What there is of one day, in any order."""

    day: str
    entries: Sequence[Entry]
    heads: Sequence[SignedHead]


class Finding(msgspec.Struct, frozen=True):
    """What is wrong. `lease_id`: the entry, or the last one before the gap, or "" where there is none."""

    kind: Kind
    day: str
    lease_id: str
    text: str


class Verified(msgspec.Struct, frozen=True):
    """One day. `unsigned`: chained entries that no head holds; `unchained`: from before there were chains; `erased`:
    of all of them, those whose text the tenant had erased."""

    day: str
    entries: int
    signed: int
    unsigned: int
    unchained: int
    head: str  # the hash of the day's last head, "" without one
    findings: tuple[Finding, ...]  # of heads, then by time
    erased: int = 0


class _Said(msgspec.Struct, frozen=True):
    """What the text of an entry of the ledger, or of an event, says of itself."""

    tenant: str = ""
    lease_id: str = ""
    log: str = ""  # of an event, which may be of another tenant's things
    id: str = ""


class _Chain(msgspec.Struct, frozen=True):
    chain: str
    count: int
    hash: str
    marks: str


class _Head(msgspec.Struct, frozen=True):
    tenant: str
    day: str
    part: int
    parts: int
    previous: str
    expires_s: int
    chains: tuple[_Chain, ...]


def verify(tenant: str, days: Iterable[Day], key: EllipticCurvePublicKey, now_s: int) -> Iterator[Verified]:
    """Verify days in their order. Each head must follow the one before it, of whichever day that was.

    `tenant`: whose ledger; with `#events` behind it, the log of what was changed.
    """
    previous: str | None = None
    alive = ""  # the first entry that is not erased
    for day in days:
        heads, wrong = _heads(tenant, day, key, previous)
        if day.heads:
            previous = None if wrong else day.heads[-1].hash
        signed = {chain.chain: chain for head in heads for chain in head.chains}
        held = sum(entry.link is not None and _held(entry.link, signed) for entry in day.entries)
        left = [entry.lease_id for entry in day.entries if entry.erased_ms is None]
        alive = min((alive, *left) if alive else left, default="")
        chained = sum(entry.link is not None for entry in day.entries)
        yield Verified(
            day=day.day,
            entries=len(day.entries),
            signed=held,
            unsigned=chained - held,
            unchained=len(day.entries) - chained,
            head=day.heads[-1].hash if day.heads else "",
            findings=(*wrong, *_found(tenant, day, signed, _may_be_gone(day, heads, now_s)), *_left_out(day, alive)),
            erased=len(day.entries) - len(left),
        )


def digest(entry: Entry, link: Link, seq: int) -> str:
    """The hash of the entry as link `seq` of its chain."""
    hashed = f"{ENTRY_DOMAIN}{link.chain}\n{seq}\n{link.prev}\n{entry.expires_s}\n{entry.text}"
    return base64.b64encode(hashlib.sha256(hashed.encode()).digest()).decode()


def _held(link: Link, signed: Mapping[str, _Chain]) -> bool:
    return link.chain in signed and link.seq <= signed[link.chain].count


def _may_be_gone(day: Day, heads: Sequence[_Head], now_s: int) -> bool:
    """Whether retention may have deleted entries of the day: as was signed, or else as those that are left tell."""
    if heads:
        return now_s >= min(head.expires_s for head in heads)
    return bool(day.entries) and now_s >= min(entry.expires_s for entry in day.entries) - DAY_S


def _heads(
    tenant: str, day: Day, key: EllipticCurvePublicKey, previous: str | None
) -> tuple[list[_Head], list[Finding]]:
    """The day's heads that are what was signed, and what is wrong with the others."""
    heads: list[_Head] = []
    wrong: list[Finding] = []
    for part, signed in enumerate(day.heads, 1):
        name = f"Head {part} of {day.day}"
        try:
            key.verify(base64.b64decode(signed.signature), signed.message, ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            wrong.append(Finding("head", day.day, "", f"{name} is not signed by this key."))
            continue
        head = msgspec.json.decode(signed.text, type=_Head)
        if (head.tenant, head.day, head.part) != (tenant, day.day, part):
            wrong.append(Finding("head", day.day, "", f"{name} is of {head.tenant}, {head.day}, part {head.part}."))
            continue
        if previous is not None and head.previous != previous:
            wrong.append(Finding("head", day.day, "", f"{name} does not follow the head before it: one is missing."))
        heads.append(head)
        previous = signed.hash
    if heads and heads[0].parts != len(day.heads):
        missing = f"Of {heads[0].parts} heads of {day.day} there are {len(day.heads)}."
        wrong.append(Finding("head", day.day, "", missing))
    return heads, wrong


def _found(tenant: str, day: Day, signed: Mapping[str, _Chain], may_be_gone: bool) -> list[Finding]:
    """What is wrong with the day's entries, by time."""
    chains: dict[str, list[tuple[Entry, Link]]] = {name: [] for name in signed}
    for entry in day.entries:
        if entry.link is not None:
            chains.setdefault(entry.link.chain, []).append((entry, entry.link))
    found: list[Finding] = []
    for name, links in chains.items():
        links.sort(key=lambda each: each[1].seq)
        found += _altered(tenant, day.day, links, signed.get(name))
        if not may_be_gone:
            found += _gaps(day.day, name, links, signed.get(name))
    return sorted(found, key=lambda finding: finding.lease_id)


def _altered(tenant: str, day: str, links: Sequence[tuple[Entry, Link]], signed: _Chain | None) -> Iterator[Finding]:
    """Entries of one chain that are not what, or where, they were."""
    before: tuple[Entry, Link] | None = None
    places = _places([link for _, link in links])
    for entry, link in links:
        told = _itself(tenant, day, entry, link, places[link.hash]) or _as_signed(link, signed)
        if told is not None:
            kind, text = told
            yield Finding(kind, day, entry.lease_id, text)
            before = None  # what it says of the others proves nothing
            continue
        if before is not None and link.seq == before[1].seq:
            text = f"It is link {link.seq} of its chain, as {before[0].lease_id} is."
            yield Finding("reordered", day, entry.lease_id, text)
        elif before is not None and link.seq == before[1].seq + 1 and link.prev != before[1].hash:
            text = f"Its hash is not the one that the next link, {entry.lease_id}, was made with."
            yield Finding("changed", day, before[0].lease_id, text)
        before = entry, link


def _places(links: Sequence[Link]) -> Mapping[str, int]:
    """By its hash, where each link of a chain belongs, as those before it tell: a guess, which its digest proves."""
    after = {link.prev: link.hash for link in links}
    places: dict[str, int] = {}
    for start, first in [(START, 0), *((link.hash, link.seq) for link in links)]:
        at, place = start, first
        while at not in places:  # each hash once, into whatever knots they were tied
            places[at] = place
            at, place = after.get(at, at), place + 1
    return places


def _itself(tenant: str, day: str, entry: Entry, link: Link, place: int) -> tuple[Kind, str] | None:
    """What is wrong with an entry that may belong at `place`, whatever the others are.

    What was erased has no text to compare with its hash: the links beside it and the day's head tell whether that is
    the one that it had.
    """
    if entry.erased_ms is not None:
        return None if link.chain.partition(".")[0] == day else ("reordered", f"It is of the chain {link.chain}.")
    if digest(entry, link, link.seq) != link.hash:
        if digest(entry, link, place) == link.hash:
            return "reordered", "It is not at its own place in its chain."
        return "changed", "Its hash is another one than that of its text, its link and its expiry."
    try:
        said = msgspec.json.decode(entry.text, type=_Said)
    except msgspec.MsgspecError:
        return "changed", "Its text is no entry."
    log, name = said.log or said.tenant, said.id or said.lease_id
    if (log, name, link.chain.partition(".")[0]) != (tenant, entry.lease_id, day):
        return "reordered", f"It is the entry {name} of {log}, of the chain {link.chain}."
    return None


def _as_signed(link: Link, signed: _Chain | None) -> tuple[Kind, str] | None:
    """What is wrong with a link that fits its entry, but not the day's head."""
    if signed is None or link.seq > signed.count:
        return None
    whole = link.hash == signed.hash or link.seq != signed.count
    if whole and link.hash[:MARK] == signed.marks[(link.seq - 1) * MARK : link.seq * MARK]:
        return None
    return "changed", "It was written anew: its hash is not the one that was signed."


def _left_out(day: Day, alive: str) -> Iterator[Finding]:
    """An erasure takes all that there is, the oldest first: what was erased is older than all that is left."""
    erased = [
        entry.lease_id for entry in day.entries if entry.erased_ms is not None and alive and entry.lease_id > alive
    ]
    if erased:
        text = f"It was erased, as {len(erased)} entries of this day were, and {alive}, which is older, was not."
        yield Finding("erased", day.day, min(erased), text)


def _gaps(day: str, name: str, links: Sequence[tuple[Entry, Link]], signed: _Chain | None) -> Iterator[Finding]:
    """Links that are missing in one chain."""
    count = signed.count if signed else 0
    if not links:
        yield Finding("removed", day, "", f"The chain {name} was removed, with all of its {count} entries.")
        return
    last, expected = "", 1
    for entry, link in links:
        if link.seq > expected:
            where = f"after {last}" if last else f"before {entry.lease_id}"
            text = f"From the chain {name}, {link.seq - expected} were removed {where}."
            yield Finding("removed", day, last or entry.lease_id, text)
        last, expected = entry.lease_id, link.seq + 1
    if expected <= count:
        yield Finding(
            "removed", day, last, f"From the chain {name}, the last {count + 1 - expected} were removed, after {last}."
        )
