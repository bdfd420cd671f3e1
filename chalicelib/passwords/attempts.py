"""How many sign-ins are taken in a window of time: of an address, and for an account, whether that is there or not.

Each is a counter of its own in a store, by the digest of whose it is, and counts in every process. Those that succeed
count too: which one will is not known before. Pure, but for the store that is given.
"""

import hashlib
from ipaddress import IPv6Address, ip_address
from typing import Protocol

import msgspec

from chalicelib.refusal import RateLimited

WINDOW_MS = 15 * 60_000
OF_AN_ADDRESS = 60
"""Many people may sit behind one address."""
OF_AN_ACCOUNT = 10
"""960 a day: a password of fourteen characters is not found by that, and a program needs one an hour."""


OF_A_KNOWN_PLACE = 10
"""From an address where the account has signed in, besides those: they are left where others have used up the rest."""
KNOWN_MS = 30 * 86_400_000
"""For how long that address is remembered, from when it became one; the next sign-in there begins anew."""


class Counter(msgspec.Struct, frozen=True):
    """Of one window; after it, nobody needs it any more."""

    name: str
    most: int
    ends_ms: int


class Attempts(Protocol):
    """Counters that all processes share. Raises StoreUnavailable."""

    def holds(self, counter: Counter) -> bool:
        """Whether anything was counted by it."""

    def take(self, counter: Counter) -> int:
        """Count one more: how many there are then. 0: there were so many already, and nothing is written."""


def must_be_few(attempts: Attempts, address: str, mail: str | None, now_ms: int) -> int:
    """Count a sign-in: which one it is in this window, for the account, or else of the address.

    Where a person has signed in lately, they have attempts that strangers elsewhere cannot use up.
    Raises RateLimited, in the same words for whichever was one too many.
    """
    window = now_ms // WINDOW_MS
    ends_ms = (window + 1) * WINDOW_MS
    taken = attempts.take(Counter(_name("address", _network(address), window), OF_AN_ADDRESS, ends_ms))
    if taken and mail is not None:
        taken = attempts.take(Counter(_name("account", mail.casefold(), window), OF_AN_ACCOUNT, ends_ms))
        if not taken and attempts.holds(_known(address, mail, now_ms)):
            own = attempts.take(Counter(_name("known", _place(address, mail), window), OF_A_KNOWN_PLACE, ends_ms))
            taken = own and OF_AN_ACCOUNT + own
    if not taken:
        raise RateLimited(
            "Too many sign-ins from here, or for this account. Wait; a token is good for an hour, so keep it.",
            limit="sign-ins",
            remaining=0,
            retry_in_ms=ends_ms - now_ms,
        )
    return taken


def has_signed_in(attempts: Attempts, address: str, mail: str, now_ms: int) -> None:
    """Remember from where."""
    attempts.take(_known(address, mail, now_ms))


def _known(address: str, mail: str, now_ms: int) -> Counter:
    return Counter(_name("place", _place(address, mail), 0), 1, now_ms + KNOWN_MS)


def _place(address: str, mail: str) -> str:
    return f"{mail.casefold()} {_network(address)}"


def _network(address: str) -> str:
    """The /64 of an IPv6 address, which is one household's: it has a new address for each attempt."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped else address


def _name(kind: str, whose: str, window: int) -> str:
    return f"{kind}#{hashlib.sha256(whose.encode()).hexdigest()}#{window}"
