"""A tenant with several meters, and agents who do to them whatever may be done, each from whatever copies it has."""

import msgspec

from chalicelib.admission import Admission, StaleEpoch
from chalicelib.admission.decision import Reservation
from chalicelib.admission.denial import LimitReached
from chalicelib.admission.limits import Limits, Units
from chalicelib.admission.meter import Lease
from chalicelib.admission.shares import arithmetic, post
from chalicelib.admission.shares.arithmetic import PLACES, units_of
from chalicelib.admission.shares.book import Amounts, Book, Shard, epoch_of, meter_of
from chalicelib.admission.shares.keeping import Keeping
from chalicelib.admission.shares.post import Wishes
from chalicelib.admission.shares.steward import Steward
from chalicelib.admission.shares.sync import Sync, sync
from chalicelib.ledger import Entry
from tests.admission.arrange import REGION, T0
from tests.admission.backing import Backing
from tests.admission.shares import checker

TENANT = "acme"
LEASE_MS = 10**9  # none expires: that leases end is not what this is about


class Dead(Exception):
    """The process was killed before this write."""


class Mortal:
    """A Keeping whose process dies before its n-th write."""

    def __init__(self, keeping: Keeping, writes: int) -> None:
        self._keeping = keeping
        self._left = writes
        self.book = keeping.book
        self.look = keeping.look

    def put(self, tenant: str, book: Book) -> bool:
        self._write()
        return self._keeping.put(tenant, book)

    def make(self, tenant: str, number: int) -> None:
        self._write()
        self._keeping.make(tenant, number)

    def sync(self, sync: Sync) -> bool:
        self._write()
        return self._keeping.sync(sync)

    def _write(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Dead


class World:
    """The stores, the true time, and what is known of it all."""

    def __init__(self, backing: Backing, limits: Limits, shards: int) -> None:
        self.backing = backing
        self.keeping = backing.keeping
        self.meters = backing.meters
        self.now_ms = T0
        self.shards = shards
        self.checker = checker.Checker({1: limits}, 1)
        self.leases: dict[str, Lease] = {}
        self.count = 0
        self.meters.open(TENANT, T0)

    def limits_of(self, tenant: str) -> tuple[Limits, int]:
        return self.checker.of[self.checker.current], self.checker.current

    def steward(self, offset_ms: int = 0, writes: int = 10**6) -> Steward:
        return Steward(
            Mortal(self.keeping, writes),
            self.meters,
            self.limits_of,
            lambda: self.now_ms + offset_ms,
            lambda _: self.shards,
        )

    def book(self) -> Book | None:
        return self.keeping.book(TENANT)

    def all(self) -> dict[int, Shard]:
        return self.keeping.look(TENANT, range(8))


class Agent:
    """One process: a clock, and copies that may be old."""

    def __init__(self, world: World, offset_ms: int = 0) -> None:
        self.world = world
        self.offset_ms = offset_ms
        self.admission = Admission(world.meters, world.backing.ledger, lease_ms=LEASE_MS, region=REGION, pause=_none)
        self.book: Book | None = None
        self.seen: dict[int, Shard] = {}

    @property
    def now_ms(self) -> int:
        return self.world.now_ms + self.offset_ms

    def read(self) -> None:
        self.book = self.world.book()

    def look(self, *numbers: int) -> None:
        self.seen.update(self.world.keeping.look(TENANT, numbers))

    def post(self, wishes: Wishes | None = None, *, shards: int | None = None, change: bool = False) -> bool:
        """One write to the book, from the copies that there are; whether it was made."""
        if self.book is None or self.book.closed:
            return False
        seen = tuple(self.seen.values())
        book = post.learned(self.book, seen)
        if change:
            if 0 not in self.seen:
                return False
            limits, version = self.world.limits_of(TENANT)
            book = post.changed(post.forgotten(book, seen, self.now_ms), self.seen[0], limits, version, self.now_ms)
        if shards is not None:
            book = post.arranged(book, max(shards, 1))
        book = post.granted(
            book, {number: wish for number, wish in (wishes or {}).items() if number < len(book.holders)}
        )
        if book == self.book:
            return True
        book = msgspec.structs.replace(book, version=book.version + 1)
        made = self.world.keeping.put(TENANT, book)
        self.book = book if made else self.world.book()
        return made

    def sync(self, number: int, give: Amounts | None = None) -> bool:
        """One write to a shard, from the copies that there are; whether it was made."""
        write = self.synced(number, give)
        if write is None:
            return True
        made = self.world.keeping.sync(write)
        self.look(number)
        return made

    def synced(self, number: int, give: Amounts | None = None) -> Sync | None:
        if self.book is None or number >= len(self.book.holders):
            return None
        if number not in self.seen:
            self.world.keeping.make(TENANT, number)
            self.look(number)
        return sync(TENANT, self.book, self.seen[number], self.now_ms, give)

    def everything(self, *, places: bool = True) -> Amounts:
        """As a wish, or to be given as far as it is not used."""
        assert self.book is not None
        without = "" if places else units_of(self.book.ids[PLACES])
        return {component: 10**15 for component in self.book.whole if component != without}

    def admit(self, number: int, units: Units) -> bool:
        """At this shard, or at the whole meter; from the copies that there are, which are read if they do not match."""
        world = self.world
        if number not in self.seen:
            self.look(number)
        shard = self.seen.get(number)
        if shard is None:
            return False
        if not shard.divided:
            limits, version = world.limits_of(TENANT)
            shares = limits
        else:
            if self.book is None or self.book.epoch != shard.epoch:
                self.read()
            if self.book is None or self.book.epoch != shard.epoch or number >= len(self.book.holders):
                self.look(number)
                return False
            limits, version = self.book.limits, self.book.limits_version
            shares = shard.limits(self.book)
            if not arithmetic.serves(shares, arithmetic.largest(limits, shares), units):
                self.look(number)
                return False
        world.count += 1
        lease_id = f"0{world.count}"
        name, stamp = meter_of(TENANT, number), shard.meter.epoch
        asked = Reservation(name, stamp, shares, units, lease_id, self.now_ms, self.now_ms + LEASE_MS)
        try:
            lease = self.admission.attempt(asked, set())
        except (LimitReached, StaleEpoch):
            self.look(number)
            return False
        windows = {key.rpartition(".")[0]: held for key, held in lease.windows.items() if key.endswith(".ti")}
        known = checker.Lease(version, units, windows)
        world.checker.admitted(lease_id, known, epoch_of(stamp), world.now_ms)
        world.leases[lease_id] = lease
        return True

    def settle(self, lease_id: str, charged: int) -> None:
        lease = self.world.leases[lease_id]
        used = Units(requests=1, tokens=charged)
        entry = Entry(
            tenant=TENANT,
            lease_id=lease_id,
            request_id=lease_id,
            outcome="completed",
            reason="",
            used=used,
            charged=used,
            admitted_ms=lease.admitted_ms,
            settled_ms=self.now_ms,
            region=REGION,
        )
        self.admission.settle(lease, entry)


def _none(pause_ms: int) -> None:
    return None
