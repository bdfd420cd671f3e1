"""How many sign-ins are taken in a window of time: of an address, and for an account, whether that is there or not.

Each is a counter of its own in a store, by the digest of whose it is, and counts in every process. Those that succeed
count too: which one will is not known before. Pure, but for the store that is given.
"""

import hashlib
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from typing import Protocol

import msgspec

from chalicelib.refusal import RateLimited

WINDOW_MS = 15 * 60_000
OF_AN_ADDRESS = 60
"""Many people may sit behind one address."""
OF_AN_ACCOUNT = 10
"""960 a day: a password of fourteen characters is not found by that, and a program needs one an hour."""


class Counter(msgspec.Struct, frozen=True):
    """Of one window; after it, nobody needs it any more."""

    name: str
    most: int
    ends_ms: int


class Attempts(Protocol):
    """Counters that all processes share. Raises StoreUnavailable."""

    def take(self, counter: Counter) -> int:
        """Count one more: how many there are then. 0: there were so many already, and nothing is written."""


def must_be_few(attempts: Attempts, address: str, mail: str | None, now_ms: int) -> int:
    """Count a sign-in: which one it is in this window, for the account, or else of the address.

    Raises RateLimited, in the same words for whichever was one too many.
    """
    taken = 0
    for counter in _counters(address, mail, now_ms):
        if not (taken := attempts.take(counter)):
            raise RateLimited(
                "Too many sign-ins from here, or for this account. Wait; a token is good for an hour, so keep it.",
                limit="sign-ins",
                remaining=0,
                retry_in_ms=counter.ends_ms - now_ms,
            )
    return taken


def _counters(address: str, mail: str | None, now_ms: int) -> Iterator[Counter]:
    window = now_ms // WINDOW_MS
    ends_ms = (window + 1) * WINDOW_MS
    yield Counter(_name("address", _network(address), window), OF_AN_ADDRESS, ends_ms)
    if mail is not None:
        yield Counter(_name("account", mail.casefold(), window), OF_AN_ACCOUNT, ends_ms)


def _network(address: str) -> str:
    """The /64 of an IPv6 address, which is one household's: it has a new address for each attempt."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped else address


def _name(kind: str, whose: str, window: int) -> str:
    return f"{kind}#{hashlib.sha256(whose.encode()).hexdigest()}#{window}"
