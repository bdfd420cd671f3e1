"""Hash chains: whoever changes, removes or reorders entries breaks one, or disagrees with what was signed.

    link n of a chain    hash = SHA-256("cloister ledger v1\\n" chain "\\n" n "\\n" prev "\\n" expires_s "\\n" text)

`text` is the entry's JSON exactly as it is stored: what later code adds to entries, or leaves out of them, changes no
hash of the past. `vectors/audit` holds a day that every program must agree on; docs/audit.md says what is evident.

One chain for each tenant and day would make a tenant's settlements wait for each other. So there are as many as
settlements run at once: each borrows a chain that nobody uses, or begins one, and gives it back longer.
"""

import base64
import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime

import msgspec

DOMAIN = "cloister ledger v1\n"
START = base64.b64encode(bytes(32)).decode()
"""What the first link has for the hash before it."""

LONGEST = 10_000
"""Links of one chain; so that a head, which holds a mark of each of them, stays a small item."""

MOST_FREE = 2_000
"""Tenants and days that a process keeps chains of. Those that are dropped have ended, which harms nothing."""

ID_BYTES = 10
SALT_BYTES = 12
DAY_MS = 86_400_000


class Link(msgspec.Struct, frozen=True):
    """An entry's place in its chain. Hashes are base64 of 32 bytes."""

    chain: str  # "<day>.<random>"
    seq: int  # from 1
    prev: str  # the hash of the link before, START in the first one
    hash: str

    @property
    def end(self) -> "End":
        return End(self.chain, self.seq, self.hash)


class End(msgspec.Struct, frozen=True):
    """The last link of a chain that is known to have been written; seq 0: none yet."""

    chain: str
    seq: int
    hash: str

    def linked(self, text: str, expires_s: int) -> Link:
        """The next link: of the entry with this text, which is kept until then."""
        seq = self.seq + 1
        return Link(self.chain, seq, self.hash, digest(self.chain, seq, self.hash, expires_s, text))


def digest(chain: str, seq: int, prev: str, expires_s: int, text: str) -> str:
    """The hash of a link."""
    hashed = hashlib.sha256(f"{DOMAIN}{chain}\n{seq}\n{prev}\n{expires_s}\n{text}".encode()).digest()
    return base64.b64encode(hashed).decode()


def salted(text: str, chance: Callable[[int], bytes]) -> str:
    """The JSON object with one member more, which nobody can guess: once the text is erased, what is left of it, its
    hash, cannot be compared with guesses of what it said."""
    return f'{text[:-1]},"salt":"{chance(SALT_BYTES).hex()}"}}'


def day_of(admitted_ms: int) -> str:
    """The day, in UTC, that a request's entry belongs to: that of its admission, as its lease id sorts."""
    return datetime.fromtimestamp(admitted_ms // 1_000, UTC).strftime("%Y-%m-%d")


def start_ms(day: str) -> int:
    """The day's first instant. Raises ValueError where it is none."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * DAY_MS


class Chains:
    """The chains that this process may go on with. Thread-safe.

    Whoever borrows one gives it back only when it is known what became of the write: a chain of which that is not
    known is left as it is, whether it grew or not.
    """

    def __init__(self, chance: Callable[[int], bytes]) -> None:
        """`chance` gives so many random bytes."""
        self._chance = chance
        self._lock = threading.Lock()
        self._free: dict[tuple[str, str], list[End]] = {}

    def borrow(self, tenant: str, day: str) -> End:
        """A chain of this tenant's day that nobody else has, until it is given back."""
        with self._lock:
            if free := self._free.get((tenant, day)):
                return free.pop()
        return End(f"{day}.{self._chance(ID_BYTES).hex()}", 0, START)

    def give_back(self, tenant: str, day: str, end: End) -> None:
        """Let the next settlement go on from here."""
        if end.seq in (0, LONGEST):  # never begun, or long enough
            return
        with self._lock:
            self._free.setdefault((tenant, day), []).append(end)
            if len(self._free) > MOST_FREE:
                del self._free[next(iter(self._free))]
