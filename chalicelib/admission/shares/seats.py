"""What a sandbox remembers of a tenant's shards. Hints: several threads write them, and no limit rests on them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import attrgetter

import msgspec

from chalicelib.admission import budgets, rates
from chalicelib.admission.decision import Denied, Reservation, judge, standing
from chalicelib.admission.denial import Denial, strictest
from chalicelib.admission.limits import Budget, Limits, Rate, Unit, Units
from chalicelib.admission.meter import Meter, Standing
from chalicelib.admission.rates import US_PER_MS
from chalicelib.admission.shares import arithmetic
from chalicelib.admission.shares.book import Book, Shard, meter_of
from chalicelib.admission.shares.steward import State

FULL_MS = 1_000
"""A shard that denied is tried again after this, should it have been said to deny for longer."""
MOVED_HINT_MS = 1_000
"""When there may be room where all together have some, and shares have to be moved for it."""


_ROOM = attrgetter("room")


class Share(msgspec.Struct, frozen=True):
    """What may be used of a shard, and the stamp under which that is so: never one of them without the other."""

    stamp: int
    limits: Limits
    largest: Mapping[Unit, int]

    def serves(self, units: Units) -> bool:
        """Whether it may be asked for so much."""
        return arithmetic.serves(self.limits, self.largest, units)


class Seat:
    """One shard."""

    def __init__(self, tenant: str, shard: Shard, book: Book, now_ms: int) -> None:
        self.number = shard.number
        self.name = meter_of(tenant, shard.number)
        self.see(shard, book, now_ms)

    def see(self, shard: Shard, book: Book, now_ms: int) -> None:
        """It was looked at, and is as far as the book."""
        limits = shard.limits(book)
        # At once, because other threads make reservations by it.
        self.share = Share(shard.meter.epoch, limits, arithmetic.largest(book.limits, limits))
        self._rates = [rate.name for rate in book.limits.rates]
        self._budgets = [budgets.key(budget) for budget in book.limits.budgets]
        self.note(shard.meter, standing(limits, shard.meter, now_ms), now_ms)

    def note(self, meter: Meter, left: Iterable[Standing], now_ms: int) -> None:
        """As it is after an admission, or a look."""
        self.meter = meter
        of = {each.name: (each.remaining, each.reset_ms) for each in left}
        self.rates = [of.get(name, (0, 0)) for name in self._rates]  # (remaining, reset_ms) of each of the book's
        self.windows = [meter.windows.get(key, ("", 0)) for key in self._budgets]
        self.room = arithmetic.room(self.share.limits, meter, now_ms)
        self.full_until_ms = 0

    def denied(self, wait_ms: int, now_ms: int) -> None:
        self.room = 0.0
        self.full_until_ms = now_ms + min(wait_ms, FULL_MS)

    def freed(self) -> None:
        """One of its leases has ended. That weighs twice: the others do not know of this place, and leave it alone."""
        self.room += 2 / max(1, self.share.limits.in_flight)
        self.full_until_ms = 0

    def reservation(self, asked: Reservation) -> Reservation | None:
        """The same at this shard; None where it must not be asked for so much."""
        share = self.share
        if not share.serves(asked.units):
            return None
        return Reservation(
            self.name, share.stamp, share.limits, asked.units, asked.lease_id, asked.now_ms, asked.expires_ms
        )


class Seats:
    """All shards of one tenant, by a book of one epoch."""

    def __init__(self, state: State, tenant: str, now_ms: int, chance: int = 0) -> None:
        """`chance` decides which shard is the first among equals, and where shares are moved to."""
        self.book = state.book
        self.tenant = tenant
        self.home = chance % state.book.shards
        numbers = sorted(state.shards, key=lambda number: (number < self.home, number))
        self.all = {number: Seat(tenant, state.shards[number], state.book, now_ms) for number in numbers}
        self.levelled_ms = now_ms
        self.moved_ms = 0
        self.looked_ms = 0  # when all were last looked at for nothing

    def see(self, shards: Mapping[int, Shard], now_ms: int) -> None:
        """They were looked at, and are as far as the book."""
        for number, shard in shards.items():
            seat = self.all.get(number)
            if seat is None:
                self.all[number] = Seat(self.tenant, shard, self.book, now_ms)
            else:
                seat.see(shard, self.book, now_ms)

    def best(self, asked: Reservation) -> Seat | None:
        """The one with the most room, of those that have some as far as it is remembered."""
        now_ms = asked.now_ms
        ready = [seat for seat in list(self.all.values()) if now_ms >= seat.full_until_ms]
        for seat in sorted(ready, key=_ROOM, reverse=True):
            if seat.share.serves(asked.units):
                return seat
        return None

    def judged(self, asked: Reservation) -> list[Denial]:
        """What each shard would say as it was seen last; those that would deny are not tried."""
        denials = []
        for seat in list(self.all.values()):
            reservation = seat.reservation(asked)
            if reservation is not None:
                match judge(reservation, seat.meter):
                    case Denied(denied):
                        strict = strictest(denied)
                        denials.append(strict)
                        seat.denied(strict.wait_ms, asked.now_ms)
                    case _:
                        seat.full_until_ms = 0
        return denials

    def fit(self, units: Units, now_ms: int) -> bool:
        """Whether all together have room for so much."""
        parts = [(seat.share.limits, seat.meter) for seat in list(self.all.values())]
        return arithmetic.fits(self.book.limits, parts, units, now_ms)

    def standing(self, now_ms: int) -> tuple[Standing, ...]:
        """How far every limit is used over all shards, as far as this sandbox knows; in the order of the limits."""
        seats, limits = list(self.all.values()), self.book.limits
        return (
            *map(_rate_standing, limits.rates, zip(*[seat.rates for seat in seats], strict=True)),
            *map(_budget_standing, limits.budgets, zip(*[seat.windows for seat in seats], strict=True), repeat(now_ms)),
        )

    def told(self, denials: list[Denial], asked: Reservation) -> Denial:
        """What the caller hears: the least wait over all shards, of the limit that makes it, told of all."""
        limits, now_ms = self.book.limits, asked.now_ms
        if not denials:
            return self._lacking(asked)
        least = min(denials, key=lambda denial: (denial.wait_ms, denial.limit))
        wait_ms = least.wait_ms
        if self.fit(asked.units, now_ms):
            wait_ms = min(wait_ms, MOVED_HINT_MS)
        left = {each.name: each.remaining for each in self.standing(now_ms)}
        for rate in limits.rates:
            if rate.name == least.limit:
                return Denial("rate", rate.name, rate.unit, left[rate.name], wait_ms, rate.count, rate.period_ms)
        for budget in limits.budgets:
            if budget.name == least.limit:
                return msgspec.structs.replace(least, remaining=left[budget.name], wait_ms=wait_ms, quota=budget.limit)
        return msgspec.structs.replace(least, wait_ms=wait_ms, quota=limits.in_flight)

    def _lacking(self, asked: Reservation) -> Denial:
        """Where no shard may be asked at all: its shares are on their way, or held until less is used."""
        limits, units = self.book.limits, asked.units
        standings = {each.name: each for each in self.standing(asked.now_ms)}
        for budget in limits.budgets:
            left = standings[budget.name]
            if budget.hard and units.of(budget.unit) > left.remaining:
                window = budgets.window_id(budget.window, asked.now_ms)
                return Denial(
                    budget.source,
                    budget.name,
                    budget.unit,
                    left.remaining,
                    left.reset_ms,
                    budget.limit,
                    window=window,
                )
        for rate in limits.rates:
            if units.of(rate.unit) and any(seat.share.limits.in_flight for seat in list(self.all.values())):
                return Denial("rate", rate.name, rate.unit, 0, MOVED_HINT_MS, rate.count, rate.period_ms)
        return Denial("crowd", arithmetic.PLACES, "requests", 0, quota=limits.in_flight)


def _rate_standing(rate: Rate, parts: Sequence[tuple[int, int]]) -> Standing:
    window_s = -(-rates.tolerance_us(rate) // (US_PER_MS * 1_000))
    remaining = min(rate.burst, sum([remaining for remaining, _ in parts]))
    return Standing(rate.name, rate.unit, rate.burst, window_s, remaining, max([reset_ms for _, reset_ms in parts]))


def _budget_standing(budget: Budget, parts: Sequence[tuple[str, int]], now_ms: int) -> Standing:
    window = max(budgets.window_id(budget.window, now_ms), max(parts)[0])
    left = max(0, budget.limit - sum([used for its, used in parts if its == window]))
    end_ms = budgets.end_ms(budget.window, window)
    window_s = (end_ms - budgets.start_ms(budget.window, window)) // 1_000
    return Standing(budget.name, budget.unit, budget.limit, window_s, left, end_ms - now_ms)
