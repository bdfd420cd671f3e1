"""What a sandbox remembers of a tenant's shards. Hints: several threads write them, and no limit rests on them."""

from collections.abc import Iterable, Mapping

import msgspec

from chalicelib.admission import budgets, rates
from chalicelib.admission.decision import Denied, Reservation, judge, standing
from chalicelib.admission.denial import Denial, strictest
from chalicelib.admission.limits import Budget, Rate, Units
from chalicelib.admission.meter import Meter, Standing
from chalicelib.admission.rates import US_PER_MS
from chalicelib.admission.shares import arithmetic
from chalicelib.admission.shares.book import Book, Shard, meter_of
from chalicelib.admission.shares.steward import State

FULL_MS = 1_000
"""A shard that denied is tried again after this, should it have been said to deny for longer."""
MOVED_HINT_MS = 1_000
"""When there may be room where all together have some, and shares have to be moved for it."""


class Seat:
    """One shard."""

    def __init__(self, tenant: str, shard: Shard, book: Book, now_ms: int) -> None:
        self.number = shard.number
        self.name = meter_of(tenant, shard.number)
        self.see(shard, book, now_ms)

    def see(self, shard: Shard, book: Book, now_ms: int) -> None:
        """It was looked at, and is as far as the book."""
        self.stamp = shard.meter.epoch
        self.limits = shard.limits(book)
        self.note(shard.meter, standing(self.limits, shard.meter, now_ms), now_ms)

    def note(self, meter: Meter, left: Iterable[Standing], now_ms: int) -> None:
        """As it is after an admission, or a look."""
        self.meter = meter
        self.left: Mapping[str, Standing] = {each.name: each for each in left}
        self.room = arithmetic.room(self.limits, meter, now_ms)
        self.full_until_ms = 0

    def denied(self, wait_ms: int, now_ms: int) -> None:
        self.room = 0.0
        self.full_until_ms = now_ms + min(wait_ms, FULL_MS)

    def freed(self) -> None:
        """One of its leases has ended."""
        self.room += 1 / max(1, self.limits.in_flight)
        self.full_until_ms = 0

    def reservation(self, asked: Reservation) -> Reservation:
        """The same at this shard."""
        return Reservation(
            self.name, self.stamp, self.limits, asked.units, asked.lease_id, asked.now_ms, asked.expires_ms
        )


class Seats:
    """All shards of one tenant, by a book of one epoch."""

    def __init__(self, state: State, tenant: str, now_ms: int) -> None:
        self.book = state.book
        self.tenant = tenant
        self.all = {number: Seat(tenant, shard, state.book, now_ms) for number, shard in state.shards.items()}
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

    def serves(self, seat: Seat, units: Units) -> bool:
        """Whether it may be asked for so much."""
        return arithmetic.serves(self.book.limits, seat.limits, units)

    def best(self, numbers: Iterable[int], asked: Reservation) -> Seat | None:
        """The one of these with the most room, if any has some as far as it is remembered."""
        best = None
        for number in list(numbers):
            seat = self.all.get(number)
            if seat is None or asked.now_ms < seat.full_until_ms or (best is not None and seat.room <= best.room):
                continue
            if self.serves(seat, asked.units):
                best = seat
        return best

    def judged(self, asked: Reservation) -> list[Denial]:
        """What each shard would say as it was seen last; those that would deny are not tried."""
        denials = []
        for seat in list(self.all.values()):
            if self.serves(seat, asked.units):
                match judge(seat.reservation(asked), seat.meter):
                    case Denied(denied):
                        strict = strictest(denied)
                        denials.append(strict)
                        seat.denied(strict.wait_ms, asked.now_ms)
                    case _:
                        seat.full_until_ms = 0
        return denials

    def fit(self, units: Units, now_ms: int) -> bool:
        """Whether all together have room for so much."""
        parts = [(seat.limits, seat.meter) for seat in list(self.all.values())]
        return arithmetic.fits(self.book.limits, parts, units, now_ms)

    def standing(self, now_ms: int) -> tuple[Standing, ...]:
        """How far every limit is used over all shards, as far as this sandbox knows; in the order of the limits."""
        seats = list(self.all.values())
        limits = self.book.limits
        return tuple(
            [_rate_standing(rate, seats) for rate in limits.rates]
            + [_budget_standing(budget, seats, now_ms) for budget in limits.budgets]
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
        for rate in limits.rates:
            if rate.name == least.limit:
                left = _rate_standing(rate, list(self.all.values())).remaining
                return Denial("rate", rate.name, rate.unit, left, wait_ms, rate.count, rate.period_ms)
        for budget in limits.budgets:
            if budget.name == least.limit:
                left = _budget_standing(budget, list(self.all.values()), now_ms).remaining
                return msgspec.structs.replace(least, remaining=left, wait_ms=wait_ms, quota=budget.limit)
        return msgspec.structs.replace(least, wait_ms=wait_ms, quota=limits.in_flight)

    def _lacking(self, asked: Reservation) -> Denial:
        """Where no shard may be asked at all: its shares are on their way, or held until less is used."""
        limits, units = self.book.limits, asked.units
        for budget in limits.budgets:
            left = _budget_standing(budget, list(self.all.values()), asked.now_ms)
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
            if units.of(rate.unit) and any(seat.limits.in_flight for seat in list(self.all.values())):
                return Denial("rate", rate.name, rate.unit, 0, MOVED_HINT_MS, rate.count, rate.period_ms)
        return Denial("crowd", arithmetic.PLACES, "requests", 0, quota=limits.in_flight)


def _rate_standing(rate: Rate, seats: Iterable[Seat]) -> Standing:
    parts = [part for seat in seats if (part := seat.left.get(rate.name)) is not None]
    window_s = -(-rates.tolerance_us(rate) // (US_PER_MS * 1_000))
    remaining = min(rate.burst, sum([part.remaining for part in parts]))
    return Standing(
        rate.name, rate.unit, rate.burst, window_s, remaining, max([part.reset_ms for part in parts] or [0])
    )


def _budget_standing(budget: Budget, seats: Iterable[Seat], now_ms: int) -> Standing:
    key = budgets.key(budget)
    parts = [part for seat in seats if (part := seat.meter.windows.get(key)) is not None]
    window = max([budgets.window_id(budget.window, now_ms), *[window for window, _ in parts]])
    left = max(0, budget.limit - sum([used for its, used in parts if its == window]))
    end_ms = budgets.end_ms(budget.window, window)
    window_s = (end_ms - budgets.start_ms(budget.window, window)) // 1_000
    return Standing(budget.name, budget.unit, budget.limit, window_s, left, end_ms - now_ms)
