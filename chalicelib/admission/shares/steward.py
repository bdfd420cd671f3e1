"""Who divides a meter, moves shares between its parts, changes all of them at once, and makes it one again.

Any process may do any of it at any time, and may die in the midst: what it left on its way, the next one brings home.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec

from chalicelib.admission import budgets, rates
from chalicelib.admission.limits import Limits, Units
from chalicelib.admission.meter import Divided
from chalicelib.admission.meters import Epochs
from chalicelib.admission.rates import SLACK_US, US_PER_MS
from chalicelib.admission.shares import arithmetic
from chalicelib.admission.shares.arithmetic import MILLI, PLACES, burst_of, count_of, split, units_of
from chalicelib.admission.shares.book import Amounts, Book, Shard
from chalicelib.admission.shares.keeping import Keeping
from chalicelib.admission.shares.post import arranged, changed, closed, counted, forgotten, granted, learned, opened
from chalicelib.admission.shares.sync import sync, whole
from chalicelib.clock import Clock
from chalicelib.refusal import StoreUnavailable

LimitsOf = Callable[[str], tuple[Limits, int]]
"""A tenant's limits as they were set last, and the version of the document that says so. Raises NotFound."""

# A write loses only to another one, which has then done its part; so many in a row mean that something is wrong.
TRIES = 50
ROUNDS = 3
AT_ONCE = 8


class Wanted(msgspec.Struct, frozen=True):
    """Room for a call that no shard has room for, at this one."""

    number: int
    units: Units


class State(msgspec.Struct, frozen=True):
    """A book, and its shards by their numbers."""

    book: Book
    shards: Mapping[int, Shard]


class Steward:
    """Does for divided meters what Epochs does for whole ones, and more. Every method may raise StoreUnavailable."""

    def __init__(
        self,
        keeping: Keeping,
        epochs: Epochs,
        limits_of: LimitsOf,
        clock: Clock,
        shards_of: Callable[[Limits], int] = arithmetic.shards_of,
    ) -> None:
        """`epochs`: of meters that are whole."""
        self._keeping = keeping
        self._epochs = epochs
        self._limits_of = limits_of
        self._clock = clock
        self._shards_of = shards_of

    def state(self, tenant: str) -> State | None:
        """As it is now; None of a tenant that never was divided."""
        book = self._keeping.book(tenant)
        return None if book is None else self._looked(tenant, book)

    def divide(self, tenant: str) -> None:
        """Turn the tenant's meter into as many shards as its limits ask for, if that is several."""
        for _ in range(TRIES):
            state = self._finished(tenant)
            first = state.shards.get(0) if state else self._keeping.look(tenant, [0]).get(0)
            if first is None:
                return
            if first.divided:
                self.level(tenant)
                return
            limits, version = self._limits_of(tenant)
            shards = self._shards_of(limits)
            if shards < 2:
                return
            book = arranged(opened(state.book if state else None, limits, version, first.meter, self._clock()), shards)
            if self._put(tenant, book):
                self._follow(tenant, msgspec.structs.replace(book, version=book.version + 1), {0: first})
        raise StoreUnavailable("Contended")

    def bump(self, tenant: str) -> int:
        """Another epoch, and the limits as they were set last; what a fresh snapshot is then true for.

        Returns when every shard has been seen under it: none admits under an older one from then on.
        """
        for _ in range(TRIES):
            state = self._finished(tenant)
            if state is None or 0 not in state.shards or not state.shards[0].divided:
                with suppress(Divided):
                    return self._epochs.bump(tenant)
                continue
            limits, version = self._limits_of(tenant)
            seen, now_ms = state.shards.values(), self._clock()
            book = changed(forgotten(learned(state.book, seen), seen, now_ms), state.shards[0], limits, version, now_ms)
            book = arranged(book, self._shards_of(book.limits))
            if self._put(tenant, book):
                self._follow(tenant, msgspec.structs.replace(book, version=book.version + 1), state.shards)
                if book.limits_version > state.book.limits_version:
                    self.level(tenant)
                return self._epochs.read(tenant)
        raise StoreUnavailable("Contended")

    def follow(self, tenant: str, state: State) -> None:
        """Finish what was begun: each shard comes up to the book, and with a closed book the meter is whole again."""
        if state.book.closed:
            self._finished(tenant)
        else:
            self._follow(tenant, state.book, state.shards)

    def level(self, tenant: str, wanted: Wanted | None = None) -> State | None:
        """Move what is not used to where it should be: the same to each shard, but for what is wanted at one."""
        state = self._finished(tenant)
        for _ in range(ROUNDS):
            if state is None or 0 not in state.shards or not state.shards[0].divided:
                return state
            missing = set(range(len(state.book.holders))) - set(state.shards)
            for number in missing:
                self._keeping.make(tenant, number)
            if missing:
                state = self._looked(tenant, state.book)
            targets = targets_of(state, wanted, self._clock())
            self._follow(tenant, state.book, state.shards, targets)
            state = self._looked(tenant, state.book)
            seen = state.shards.values()
            known = counted(forgotten(learned(state.book, seen), seen, self._clock()), seen)
            book = granted(known, _wishes(known, targets))
            if book == state.book:
                return self._closed(tenant, state)
            if self._put(tenant, book):
                posted = msgspec.structs.replace(book, version=book.version + 1)
                self._follow(tenant, posted, state.shards)
                state = self._looked(tenant, posted)
            else:
                state = self._finished(tenant)
        return state

    def _closed(self, tenant: str, state: State) -> State | None:
        """With one meter again, where the limits ask for no more and nothing is held elsewhere; or as it is."""
        if state.book.shards > 1:
            return state
        seen = state.shards.values()
        book = closed(learned(state.book, seen), seen, self._clock())
        if book is None or any(state.shards[0].share(name) != amount for name, amount in book.whole.items()):
            return state
        self._put(tenant, book)
        return self._finished(tenant)

    def _finished(self, tenant: str) -> State | None:
        """The state now; where the book is closed, with a meter that is whole."""
        for _ in range(TRIES):
            state = self.state(tenant)
            if state is None or not state.book.closed or not state.shards[0].divided:
                return state
            first = state.shards[0]
            write = whole(tenant, state.book, first)
            if write is not None:
                self._keeping.sync(write)
                continue
            # Something was on its way when it was closed, and is brought home.
            known = learned(state.book, [first])
            book = granted(known, {0: known.pool()})
            if book == state.book or self._put(tenant, book):
                self._follow(tenant, msgspec.structs.replace(book, version=state.book.version), {0: first})
        raise StoreUnavailable("Contended")

    def _follow(
        self, tenant: str, book: Book, shards: Mapping[int, Shard], targets: Mapping[int, Amounts] | None = None
    ) -> None:
        """Sync these shards side by side, each till there is nothing to do; what is above a target is given back."""

        def follow(number: int) -> None:
            shard: Shard | None = shards[number]
            for turn in range(TRIES):
                if shard is None:
                    return
                target = (targets or {}).get(number)
                give = {name: shard.share(name) - amount for name, amount in target.items()} if target else None
                write = sync(tenant, book, shard, self._clock(), give, caution=min(turn, 12))
                if write is None or self._keeping.sync(write):
                    return
                shard = self._keeping.look(tenant, [number]).get(number)
            raise StoreUnavailable("Contended")

        if len(shards) == 1:
            follow(*shards)
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done in [pool.submit(follow, number) for number in shards]:
                done.result()

    def _looked(self, tenant: str, book: Book) -> State:
        return State(book, self._keeping.look(tenant, range(len(book.holders))))

    def _put(self, tenant: str, book: Book) -> bool:
        """Put the next version of the book, changed so."""
        return self._keeping.put(tenant, msgspec.structs.replace(book, version=book.version + 1))


def _wishes(book: Book, targets: Mapping[int, Amounts]) -> dict[int, Amounts]:
    return {
        number: {name: amount - book.holders[number].outstanding(name) for name, amount in target.items()}
        for number, target in targets.items()
    }


def targets_of(state: State, wanted: Wanted | None, now_ms: int) -> Mapping[int, Amounts]:
    """Shard's number -> what it should hold of each component."""
    book = state.book
    numbers = [number for number, holder in enumerate(book.holders) if not holder.retiring]
    if wanted and wanted.number not in numbers:
        wanted = None
    needed = _needed(book, state.shards[wanted.number], wanted.units, now_ms) if wanted else {}
    targets: dict[int, dict[str, int]] = {number: {} for number in numbers}
    for component, amount in book.whole.items():
        even = split(amount, len(numbers))
        if wanted and needed.get(component, 0) > even[-1]:
            first = min(amount, needed[component])
            others = [number for number in numbers if number != wanted.number]
            even = split(amount - first, len(others))
            targets[wanted.number][component] = first
        else:
            others = numbers
        for number, part in zip(others, even, strict=True):
            targets[number][component] = part
    return targets


def _needed(book: Book, shard: Shard, units: Units, now_ms: int) -> dict[str, int]:
    """What this shard would have to hold for a call of so many units, beside what is in use there."""
    needed = {units_of(book.ids[PLACES]): len(shard.meter.leases) + 1}
    for rate in book.limits.rates:
        amount = units.of(rate.unit)
        name, tat_us = book.ids[rates.key(rate)], shard.meter.tats.get(rates.key(rate))
        if amount:
            now_us = now_ms * US_PER_MS
            count = shard.share(count_of(name))
            level = arithmetic.level_milli(rate, count, tat_us, now_us) if tat_us is not None else 0
            withheld = -(-rate.count * SLACK_US // (rate.period_ms * US_PER_MS))
            burst = min(rate.burst, amount + withheld + -(-level // MILLI) + 1)
            needed[burst_of(name)] = burst
            # So much of the count as of the burst, or the one would take longer to come back than the other.
            needed[count_of(name)] = -(-rate.count * MILLI * burst // rate.burst)
    for budget in book.limits.budgets:
        if budget.hard:
            window, used = shard.meter.windows.get(budgets.key(budget), ("", 0))
            here = used if window >= budgets.window_id(budget.window, now_ms) else 0
            needed[units_of(book.ids[budgets.key(budget)])] = here + units.of(budget.unit)
    return needed
