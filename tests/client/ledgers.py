"""Two days of a ledger as the gateway writes and signs it, for a hand that tampers with what the auditor gets."""

import base64
from collections.abc import Iterable, Sequence

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from chalicelib.ledger import head as heads
from chalicelib.ledger.chain import DAY_MS, START, End, day_of
from chalicelib.ledger.records import Kept
from cloister.audit import Day, Entry, Finding, SignedHead, Verified, digest, verify
from tests.ledger.arrange import T0, entry

KEY = ec.derive_private_key(7, ec.SECP256R1())
TENANT = "acme"
KEPT_S = 30 * 86_400
LATER_S = T0 // 1_000 + 3 * 86_400


def sign(message: bytes) -> bytes:
    return KEY.sign(message, ec.ECDSA(SHA256()))


def written() -> list[Day]:
    """On each day, by time, the links 1, 2, -, 3, 4, - of one chain and -, -, 1, -, -, 2 of another; signed."""
    days = []
    previous = ""
    for number in (0, 1):
        day = _day(number)
        signed = _signed(day, number, previous)
        previous = signed.hash
        days.append(Day(day_of(T0 + number * DAY_MS), [_told(each) for each in day], [signed]))
    return days


def in_one_chain(count: int) -> list[Entry]:
    """So many of the first day, by time, each settled before the next one was."""
    end = End(f"{day_of(T0)}.{1:020x}", 0, START)
    found = []
    for place in range(count):
        kept = _linked(end, T0 + place)
        assert kept.link is not None
        end = kept.link.end
        found.append(_told(kept))
    return found


def audited(*days: Day, now_s: int = LATER_S) -> list[Finding]:
    """What is found in these days, the first one first."""
    return [finding for day in verified(days, now_s) for finding in day.findings]


def verified(days: Iterable[Day], now_s: int = LATER_S) -> list[Verified]:
    return list(verify(TENANT, days, KEY.public_key(), now_s))


def with_entries(day: Day, entries: Sequence[Entry]) -> Day:
    return msgspec.structs.replace(day, entries=entries)


def anew(entry: Entry, text: str, prev: str | None = None) -> Entry:
    """The entry with another text, and a hash that fits."""
    assert entry.link is not None
    link = msgspec.structs.replace(entry.link, prev=prev or entry.link.prev)
    changed = msgspec.structs.replace(entry, text=text, link=link)
    return msgspec.structs.replace(changed, link=msgspec.structs.replace(link, hash=digest(changed, link, link.seq)))


def _day(number: int) -> list[Kept]:
    day = day_of(T0 + number * DAY_MS)
    ends = [End(f"{day}.{chain:020x}", 0, START) for chain in (1, 2)]
    found = []
    for place in range(6):
        kept = _linked(ends[place % 3 == 2], T0 + number * DAY_MS + place)
        assert kept.link is not None
        ends[place % 3 == 2] = kept.link.end
        found.append(kept)
    return found


def _linked(end: End, at_ms: int) -> Kept:
    """An entry of this instant, as the link after `end`."""
    each = entry(at_ms)
    text = msgspec.json.encode(each).decode()
    expires_s = each.settled_ms // 1_000 + KEPT_S
    return Kept(each.lease_id, text, expires_s, end.linked(text, expires_s))


def _signed(day: Sequence[Kept], number: int, previous: str) -> SignedHead:
    found = heads.summary(day)
    assert found is not None
    said = heads.Head(TENANT, day_of(T0 + number * DAY_MS), 1, 1, previous, 0, found.expires_s, found.chains)
    text = msgspec.json.encode(said).decode()
    return SignedHead(text, base64.b64encode(sign(heads.digest(text))).decode())


def _told(kept: Kept) -> Entry:
    return msgspec.convert(msgspec.to_builtins(kept), Entry)
