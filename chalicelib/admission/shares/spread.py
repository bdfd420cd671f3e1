"""Which shard a request tries: the one with the most room as this sandbox remembers them, then the next one, then,
having looked at all, the best one once more.

Where no shard has room for a call that all together have room for, shares are moved to one, once a second at most.
"""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import cached_property
from typing import Protocol

import msgspec

from chalicelib.admission.decision import Reservation, impossible
from chalicelib.admission.denial import Denial, LimitReached, strictest
from chalicelib.admission.meter import Lease, Meter, StaleEpoch, Standing
from chalicelib.admission.shares.book import epoch_of, is_settled, number_of
from chalicelib.admission.shares.keeping import Keeping
from chalicelib.admission.shares.patience import Patient
from chalicelib.admission.shares.seats import Seat, Seats
from chalicelib.admission.shares.steward import State, Steward, Wanted
from chalicelib.refusal import StoreUnavailable

LOOK_MS = 20
"""Where all shards were looked at for nothing, they are not looked at again within this."""
MOVE_MS = 1_000
"""A sandbox moves shares of a tenant to where a call needs them no more often than this."""
BLIND = 2
"""So many shards are tried as they are remembered; a third would be as likely full as a look is dear."""
TRIES = 3
"""At one shard: its shares may be moved meanwhile."""
LEVEL_MS = 10_000
"""What could not be moved when limits were changed, because it was in use, is tried again after this."""
MOST_TENANTS = 1_000


class Attempts(Protocol):
    """Admissions at one meter, whichever it is."""

    def attempt(self, reservation: Reservation, unheard: set[str]) -> Lease:
        """Reserve at the reservation's meter, or do nothing at all; `unheard` gets its name where that is not known.

        Raises: LimitReached, StaleEpoch, NoCapacity, StoreUnavailable.
        """

    def remembered(self, meter: str) -> Meter | None:
        """It, as it was last seen."""


class _Call:
    """One request, and what it may do to the shares while it waits."""

    def __init__(
        self, asked: Reservation, unheard: set[str], keeping: Keeping, steward_of: Callable[[Keeping], Steward]
    ) -> None:
        self.asked = asked
        self.unheard = unheard
        self.keeping = keeping
        self._steward_of = steward_of

    @cached_property
    def steward(self) -> Steward:
        return self._steward_of(self.keeping)


class Spread:
    """Admits for tenants whose meter is divided. Safe to use from several threads."""

    def __init__(
        self,
        attempts: Attempts,
        steward_of: Callable[[Keeping], Steward],
        keeping: Keeping,
        monotonic: Callable[[], int],
        chance: int,
    ) -> None:
        """`monotonic`: what a request's patience is measured by, in ms.

        `chance`: a large number of this sandbox's own, so that not all of them begin at the same shard.
        """
        self._attempts = attempts
        self._steward_of = steward_of
        self._keeping = keeping
        self._monotonic = monotonic
        self._chance = chance
        self._of: dict[str, Seats] = {}

    def admit(self, asked: Reservation, unheard: set[str]) -> Lease:
        """Reserve on one shard what is asked of the tenant's meter; the limits are those of the book.

        `unheard` gets the names of the shards that did not say what became of a write.

        Raises: LimitReached, StaleEpoch, NoCapacity, StoreUnavailable.
        """
        call = _Call(asked, unheard, Patient(self._keeping, self._monotonic), self._steward_of)
        seats = self._seats(call)
        too_large = impossible(seats.book.limits, asked.units)
        if too_large:
            self._must_hold(seats, call)
            raise LimitReached((too_large,))
        denials: list[Denial] = []
        for _ in range(BLIND):
            seat = seats.best(asked)
            lease = seat and self._tried(seats, seat, call, denials)
            if lease:
                return lease
        if asked.now_ms - seats.looked_ms >= LOOK_MS:
            self._look(seats, call)
        denials = seats.judged(asked)
        seat = seats.best(asked)
        lease = seat and self._tried(seats, seat, call, denials)
        if lease:
            return lease
        lease = self._moved(seats, call, denials)
        if lease:
            return lease
        seats.looked_ms = asked.now_ms
        raise LimitReached((seats.told(denials, asked),))

    def left(self, lease: Lease) -> None:
        """A lease of a shard has ended."""
        seats = self._of.get(lease.tenant)
        seat = seats and seats.all.get(number_of(lease.meter))
        if seat:
            seat.freed()

    def usage(self, tenant: str, now_ms: int) -> tuple[int, tuple[Standing, ...]]:
        """Leases in flight, and how far every limit is used; over all shards. Raises StoreUnavailable."""
        state = self._steward_of(self._keeping).state(tenant)
        assert state is not None  # a divided meter has a book, which is never deleted
        in_flight = sum(len(shard.meter.leases) for shard in state.shards.values())
        return in_flight, Seats(state, tenant, now_ms).standing(now_ms)

    def holds(self, tenant: str, lease_id: str) -> bool:
        """Whether any shard has this lease. Raises StoreUnavailable."""
        state = self._steward_of(self._keeping).state(tenant)
        return state is not None and any(lease_id in shard.meter.leases for shard in state.shards.values())

    def _tried(self, seats: Seats, seat: Seat, call: _Call, denials: list[Denial]) -> Lease | None:
        """Its lease, or None and one denial more."""
        asked = call.asked
        for _ in range(TRIES):
            reservation = seat.reservation(asked)
            if reservation is None:
                return None
            try:
                lease = self._attempts.attempt(reservation, call.unheard)
            except LimitReached as reached:
                strict = strictest(reached.denials)
                denials.append(strict)
                seat.meter = self._attempts.remembered(seat.name) or seat.meter
                seat.denied(strict.wait_ms, asked.now_ms)
                return None
            except StaleEpoch:
                self._catch_up(seats, seat, call)
                continue
            seat.note(self._attempts.remembered(seat.name) or seat.meter, lease.standing, asked.now_ms)
            return msgspec.structs.replace(lease, tenant=asked.tenant, standing=seats.standing(asked.now_ms))
        return None

    def _moved(self, seats: Seats, call: _Call, denials: list[Denial]) -> Lease | None:
        """The lease of a call that no shard has room for, and all together have or may have: room is moved to one."""
        asked = call.asked
        if asked.now_ms - seats.moved_ms < MOVE_MS:
            return None
        if is_settled(seats.book) and not seats.fit(asked.units, asked.now_ms):
            return None
        seats.moved_ms = asked.now_ms
        state = call.steward.level(asked.tenant, Wanted(seats.home, asked.units))
        if state is None or state.book.epoch != seats.book.epoch or state.book.closed:
            self._of.pop(asked.tenant, None)
            raise StaleEpoch
        seats.book = state.book
        seats.see(state.shards, asked.now_ms)
        return self._tried(seats, seats.all[seats.home], call, denials)

    def _seats(self, call: _Call) -> Seats:
        """What is remembered, if it is of the epoch that was asked under; or what is there. Raises StaleEpoch."""
        asked = call.asked
        seats, epoch = self._of.get(asked.tenant), epoch_of(asked.epoch)
        if seats is not None and seats.book.epoch == epoch:
            if asked.now_ms - seats.levelled_ms < LEVEL_MS or is_settled(seats.book):
                return seats
            seats.levelled_ms = asked.now_ms  # the others go on with what they have
        state = call.steward.state(asked.tenant)
        if state is None:
            raise StaleEpoch
        behind = state.book.closed or any(shard.epoch < state.book.epoch for shard in state.shards.values())
        if behind:
            call.steward.follow(asked.tenant, state)
        if state.book.epoch != epoch or state.book.closed:
            self._of.pop(asked.tenant, None)
            raise StaleEpoch
        if behind or not is_settled(state.book):
            with nullcontext() if behind else suppress(StoreUnavailable):  # else each goes on with what it has
                state = call.steward.level(asked.tenant)
            if state is None or state.book.epoch != epoch or state.book.closed:
                self._of.pop(asked.tenant, None)
                raise StaleEpoch
        if len(self._of) >= MOST_TENANTS and asked.tenant not in self._of:
            # Costs each of them one look, once in so many tenants.
            self._of.clear()
        self._of[asked.tenant] = seats = Seats(state, asked.tenant, asked.now_ms, self._chance)
        return seats

    def _look(self, seats: Seats, call: _Call) -> None:
        """See all shards as they are. Raises StaleEpoch."""
        asked = call.asked
        shards = call.keeping.look(asked.tenant, range(len(seats.book.holders)))
        if any(shard.epoch != seats.book.epoch for shard in shards.values()):
            self._must_hold(seats, call)
            # The change stopped half way: with the book that it made, the rest is easily done.
            call.steward.follow(asked.tenant, State(seats.book, shards))
            shards = call.keeping.look(asked.tenant, shards)
        seats.see(shards, asked.now_ms)

    def _catch_up(self, seats: Seats, seat: Seat, call: _Call) -> None:
        """See one shard, whose shares or whose epoch are others than they were. Raises StaleEpoch."""
        asked = call.asked
        shard = call.keeping.look(asked.tenant, [seat.number])[seat.number]
        if shard.epoch < seats.book.epoch:
            call.steward.follow(asked.tenant, State(seats.book, {seat.number: shard}))
            shard = call.keeping.look(asked.tenant, [seat.number])[seat.number]
        if shard.epoch != seats.book.epoch:
            self._must_hold(seats, call)
        seats.see({seat.number: shard}, asked.now_ms)

    def _must_hold(self, seats: Seats, call: _Call) -> None:
        """Raises StaleEpoch unless the book is still of this epoch; then shard 0 is of the later one, too."""
        asked = call.asked
        state = call.steward.state(asked.tenant)
        if state is None or state.book.epoch != seats.book.epoch:
            self._of.pop(asked.tenant, None)
            if state is not None:
                call.steward.follow(asked.tenant, state)
            raise StaleEpoch
