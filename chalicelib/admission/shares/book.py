"""Who holds which shares of a tenant's limits: the book, and the shards that it is kept about. Values only.

Each edge from the book to a shard has four numbers for each component, none of which ever falls:

    book   G granted    K returned, as far as known
    shard  A applied    R returned
    A <= G and K <= R, so the shard's own share, A - R, is never more than what the book counts for it, G - K.

A transfer is three writes, each of which may be repeated, come late, or never: the shard returns (R += x), the book
acknowledges and grants to another (K := R, G += y), the other applies (A := G). What nobody holds is derived, never
stored; it is below zero where a limit was lowered and what it was is still held or used.

A limit is known by an id, which is new whenever the limit is new to the book: numbers of an earlier life of the same
limit are nobody's.

A shard's `epoch` in its item is its *stamp*: below zero, and another one at each change of its shares as at each
change of the tenant. So the one condition of an admission that a meter always had holds both, an admission that takes
a shard for a whole meter fails, and so does one that takes a whole meter for a shard.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from chalicelib.admission.leases import base36
from chalicelib.admission.limits import Limits
from chalicelib.admission.meter import Meter
from chalicelib.admission.shares import arithmetic

_VERSIONS: Final = 10**9
"""More than one epoch ever has changes of shares; DynamoDB's numbers have 38 digits."""

Amounts = Mapping[str, int]
"""Component -> amount."""


class Holder(msgspec.Struct, frozen=True):
    """What the book knows of a shard."""

    granted: Amounts = {}  # G
    returned: Amounts = {}  # K
    retiring: bool = False  # it is to give all back, and to get nothing

    def outstanding(self, component: str) -> int:
        return self.granted.get(component, 0) - self.returned.get(component, 0)


class Book(msgspec.Struct, frozen=True):
    """One for each tenant that has, or had, several shards."""

    version: int
    """One more at each write, which is conditional on it."""
    epoch: int
    limits: Limits
    limits_version: int
    """Of the document that the limits were read from: they never go back to an older one."""
    ids: Mapping[str, str]
    """Name in the meter -> id, of all limits and of those that were and may still mean something somewhere."""
    next_id: int
    windows: Mapping[str, str]
    """Budget's id -> the window that its returned units came from: no earlier one may have them."""
    holders: tuple[Holder, ...]
    """By the shards' numbers."""
    uncounted: tuple[str, ...] = ()
    """Ids of budgets that are new to the book: nobody gets anything before it is known what was used of them."""
    closed: bool = False
    """The tenant has one meter again, or is about to: nothing moves until it is divided anew."""

    @property
    def whole(self) -> dict[str, int]:
        """Component -> all that there is of it."""
        return arithmetic.components(self.limits, self.ids)

    @property
    def shards(self) -> int:
        """How many are not retiring."""
        return sum(not holder.retiring for holder in self.holders)

    def pool(self) -> dict[str, int]:
        """Component -> what nobody holds; below zero where more is held than there is."""
        return {
            component: amount - sum(holder.outstanding(component) for holder in self.holders)
            for component, amount in self.whole.items()
        }


class Shard(msgspec.Struct, frozen=True):
    """A shard as it was at some instant. Number 0 is the tenant's meter itself, divided or not."""

    number: int
    granted: Amounts  # A
    returned: Amounts  # R
    held: frozenset[str]  # ids of the limits that deny here, because more is held of them than there is
    meter: Meter

    @property
    def divided(self) -> bool:
        return self.meter.epoch < 0

    @property
    def epoch(self) -> int:
        return epoch_of(self.meter.epoch)

    def share(self, component: str) -> int:
        return self.granted.get(component, 0) - self.returned.get(component, 0)

    def limits(self, book: Book) -> Limits:
        """What may be used of this shard, by a book of the same epoch."""
        share = {
            component: self.share(component)
            for component in book.whole
            if arithmetic.limit_of(component) not in self.held
        }
        return arithmetic.share_limits(book.limits, book.ids, share)


def meter_of(tenant: str, number: int) -> str:
    """The name of a shard among the meters."""
    return f"{tenant}#{number}" if number else tenant


def number_of(meter: str) -> int:
    """Of a shard, by its name among the meters."""
    return int(meter.partition("#")[2] or 0)


def is_settled(book: Book) -> bool:
    """Whether all is granted, and nothing is to come back."""
    retiring = any(holder.outstanding(name) for holder in book.holders if holder.retiring for name in holder.granted)
    return book.shards > 1 and not retiring and not any(book.pool().values())


def stamp(epoch: int, version: int) -> int:
    return -(epoch * _VERSIONS + version)


def epoch_of(number: int) -> int:
    """The tenant's epoch, from what stands in a meter or in a snapshot."""
    return -number // _VERSIONS if number < 0 else number


def version_of(number: int) -> int:
    return -number % _VERSIONS


UNSHARED: Final = stamp(0, 1)
"""Of a shard that has been made, and has no shares yet."""


# A shard's shares in its item: "1c=2s.0,1b=5k.a;2" - component=A.R, then the ids of what is held. In base 36: every
# write of the item pays for them.


def written(granted: Amounts, returned: Amounts, held: frozenset[str]) -> str:
    pairs = (f"{name}={base36(amount)}.{base36(returned.get(name, 0))}" for name, amount in sorted(granted.items()))
    return f"{','.join(pairs)};{','.join(sorted(held))}"


def read(text: str) -> tuple[Amounts, Amounts, frozenset[str]]:
    """(granted, returned, held)."""
    pairs, _, held = text.partition(";")
    granted, returned = {}, {}
    for pair in filter(None, pairs.split(",")):
        name, _, amounts = pair.partition("=")
        given, _, back = amounts.partition(".")
        granted[name], returned[name] = int(given, 36), int(back, 36)
    return granted, returned, frozenset(filter(None, held.split(",")))
