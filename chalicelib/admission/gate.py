"""May this run now, and what became of it: leases from their admission to their settlement."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from chalicelib.admission.decision import (
    Again,
    Already,
    Denied,
    Reservation,
    Stale,
    impossible,
    judge,
    predict,
    release,
    standing,
    still_to_do,
)
from chalicelib.admission.denial import Denial, LimitReached, refusal, strictest
from chalicelib.admission.limits import Limits, Units
from chalicelib.admission.meter import Held, Lease, Lost, Meter, StaleEpoch, Standing, tenant_of
from chalicelib.admission.meters import Meters
from chalicelib.admission.outcomes import UnknownOutcomes, in_a_thread, monotonic_ms
from chalicelib.admission.remembered import Denials
from chalicelib.ledger import Entry, Ledger
from chalicelib.refusal import NoCapacity, StoreUnavailable

if TYPE_CHECKING:
    from chalicelib.admission.shares.spread import Spread

# After the first: mispredictions need one, a window or an idle spell that turns meanwhile another.
MORE_TRIES = 3
CONTENDED_RETRY_MS = 100
DOWN_RETRY_MS = 1_000
# A settlement that fails is not lost (it is repeated in the background), only late; so try a little.
SETTLE_PAUSES_MS = (50, 200)
# Meters, of which a divided tenant has many. One that is forgotten costs its next caller one mispredicted write.
MOST_SEEN = 10_000
# Of the dead that crowd a caller out, it finishes no more than its patience bears; the reaper does the rest.
FINISHED_AT_ONCE = 8


class LeaseLost(Exception):
    """The lease is not there any more: it expired, and the request was declared abandoned."""


class Admission:
    """Admits and settles requests of this region. Safe to use from several threads."""

    def __init__(
        self,
        meters: Meters,
        ledger: Ledger,
        *,
        lease_ms: int,
        region: str,
        pause: Callable[[int], None] = lambda pause_ms: time.sleep(pause_ms / 1000),
        begin: Callable[[UnknownOutcomes], None] = in_a_thread,
        monotonic: Callable[[], int] = monotonic_ms,
        spread: Callable[["Admission"], "Spread"] | None = None,
    ) -> None:
        """`begin` has unknown outcomes made sure of beside its caller, at instants of `monotonic`. `spread` makes what
        admits where a meter is divided; it is asked for when the first such tenant comes."""
        self._meters = meters
        self._ledger = ledger
        self._lease_ms = lease_ms
        self._region = region
        self._pause = pause
        self._spread_of = spread
        self._divided: Spread | None = None  # made for the first tenant whose meter is divided
        self._denials = Denials()
        self._unknown = UnknownOutcomes(self._take_back, self._settle, lease_ms=lease_ms, begin=begin, clock=monotonic)
        self._seen: OrderedDict[str, Meter] = OrderedDict()  # what predictions are made from; the one used last is last

    def admit(self, *, tenant: str, epoch: int, limits: Limits, units: Units, lease_id: str, now_ms: int) -> Lease:
        """Reserve `units` of every limit and take a lease, in one conditional write; or do nothing at all.

        Raises: StaleEpoch; RateLimited, QuotaExhausted, OverBudget, Crowded (a limit, with the exact wait);
        TooLarge (more than a limit ever allows); NoCapacity (the store).
        """
        reservation = Reservation(tenant, epoch, limits, units, lease_id, now_ms, now_ms + self._lease_ms)
        unheard: set[str] = set()
        lease: Lease | None = None
        try:
            # An epoch below zero is of a meter that is divided.
            admit = self._spread().admit if epoch < 0 else self.attempt
            lease = admit(reservation, unheard)
        except LimitReached as reached:
            raise refusal(strictest(reached.denials)) from None
        except StoreUnavailable:
            # Money fails closed. If the write was made all the same, its lease is taken back (outcomes.py).
            raise NoCapacity("The limits store does not answer.", retry_in_ms=DOWN_RETRY_MS) from None
        finally:
            # Only now: a shard whose answer was not heard may have been asked once more, and hold the lease in use.
            for meter in unheard:
                if lease is None or meter != lease.meter:
                    self._unknown.admission(meter, lease_id)
        return msgspec.structs.replace(lease, unheard=True) if lease.meter in unheard else lease

    def attempt(self, reservation: Reservation, unheard: set[str]) -> Lease:
        """The same at one meter, which may be a shard: its name is the reservation's tenant.

        It is added to `unheard` where a write left and nobody heard what became of it, however this ends.

        Raises: StaleEpoch, LimitReached, NoCapacity, StoreUnavailable.
        """
        too_large = impossible(reservation.limits, reservation.units)
        if too_large:
            # No write would tell whether these limits still hold, so ask.
            now = self._meters.reading(reservation.tenant)
            if now is None or now.epoch != reservation.epoch:
                raise StaleEpoch
            raise LimitReached((too_large,))
        remembered = self._denials.recall(reservation)
        if remembered:
            raise LimitReached(tuple(remembered))
        seen = self._seen.get(reservation.tenant)
        made_room = False
        for _ in range(1 + MORE_TRIES):
            write = predict(reservation, seen)
            try:
                after = self._meters.admit(write, lambda: unheard.add(reservation.tenant))
            except Lost as lost:
                truth = seen = lost.truth
            else:
                self._answered()
                self._remember(reservation.tenant, after)
                return _lease(reservation, write.held, after)
            self._answered()
            if truth is None:
                self._seen.pop(reservation.tenant, None)
                raise StaleEpoch
            self._remember(reservation.tenant, truth)
            match judge(reservation, truth):
                case Already(held):
                    return _lease(reservation, held, truth)
                case Stale():
                    raise StaleEpoch
                case Denied(denials):
                    # Once: a crowd that is still there after the dead were removed is one of the living.
                    if made_room or not self._make_room(reservation, truth, denials):
                        self._denials.remember(reservation, denials, truth)
                        raise LimitReached(denials)
                    made_room = True
                case Again():
                    pass
        raise NoCapacity("The limits store is contended.", retry_in_ms=CONTENDED_RETRY_MS)

    def renew(self, lease: Lease, now_ms: int) -> Lease:
        """Keep a running request's lease. Raises LeaseLost, StoreUnavailable."""
        renewed = msgspec.structs.replace(lease, expires_ms=now_ms + self._lease_ms)
        if not self._meters.renew(renewed):
            raise LeaseLost(lease.lease_id)
        return renewed

    def settle(self, lease: Lease, entry: Entry) -> Entry:
        """Write what became of the request, then free its lease. Idempotent: repeat it at will.

        Returns the entry that decided: another one than `entry` if the lease had expired and the request
        was declared abandoned; then what was used is recorded there as late, and nothing is charged.

        Raises: StoreUnavailable after a few tries. It is repeated then when the store answers again, in the
        background; what is lost with this process is finished by whoever finds the lease expired.
        """
        for pause_ms in SETTLE_PAUSES_MS:
            try:
                return self._settle(lease, entry)
            except StoreUnavailable:
                self._pause(pause_ms)
        try:
            return self._settle(lease, entry)
        except StoreUnavailable:
            self._unknown.settlement(lease, entry)
            raise

    def _settle(self, lease: Lease, entry: Entry) -> Entry:
        decided = self._settle_once(lease, entry)
        if lease.unheard:
            # The lease kept what left first from being made; now nothing does.
            self._unknown.admission(lease.meter, lease.lease_id)
        return decided

    def _settle_once(self, lease: Lease, entry: Entry) -> Entry:
        entry = msgspec.structs.replace(entry, charged=entry.charged.at_most(lease.reserved))
        there = self._ledger.put_if_absent(entry)
        if there is not None and there.outcome == "abandoned" and entry.outcome != "abandoned":
            self._ledger.note_late(lease.tenant, lease.lease_id, entry.used)
            # Whoever declared it abandoned corrects the meter.
            return msgspec.structs.replace(there, late=there.late or entry.used)
        decided = there or entry
        self._release(lease.meter, lease.lease_id, lease, decided.charged)
        if self._divided is not None:
            self._divided.left(lease)
        return decided

    def reap(self, now_ms: int) -> int:
        """Finish every expired lease of this region; how many there were. Safe to run concurrently.

        Raises: StoreUnavailable, after having tried all that could be listed.
        """
        finished = 0
        failed: StoreUnavailable | None = None
        for meter, lease_id, held in self._meters.expired(now_ms):
            try:
                self._finish(meter, lease_id, held, now_ms)
                finished += 1
            except StoreUnavailable as error:
                failed = error
        if failed:
            raise failed
        return finished

    def usage(self, tenant: str, limits: Limits, now_ms: int) -> tuple[int, tuple[Standing, ...]] | None:
        """Leases in flight, and how far every limit is used; None without a meter. Raises StoreUnavailable."""
        meter = self._meters.reading(tenant)
        if meter is None:
            return None
        if meter.epoch < 0:
            return self._spread().usage(tenant, now_ms)
        return len(meter.leases), standing(limits, meter, now_ms)

    def holds(self, tenant: str, lease_id: str) -> bool:
        """Whether a lease is held now. Raises StoreUnavailable."""
        meter = self._meters.reading(tenant)
        if meter is not None and meter.epoch < 0:
            return self._spread().holds(tenant, lease_id)
        return meter is not None and lease_id in meter.leases

    def remembered(self, meter: str) -> Meter | None:
        """It, as it was seen last."""
        return self._seen.get(meter)

    def forget(self, tenant: str) -> None:
        """Drop what this sandbox remembers of denials, after a change of limits made here."""
        self._denials.forget(tenant)

    def _answered(self) -> None:
        if self._unknown.waiting:
            self._unknown.answered()

    def _take_back(self, tenant: str, lease_ids: Collection[str]) -> None:
        """Release those of these leases that are there, of admissions whose callers were refused."""
        meter = self._meters.reading(tenant)
        for lease_id in lease_ids:
            if meter is not None and lease_id in meter.leases:
                self._release(tenant, lease_id, meter.leases[lease_id], Units())

    def _make_room(self, reservation: Reservation, truth: Meter, denials: tuple[Denial, ...]) -> bool:
        """Whether there were leases that nobody uses; they are ended, as many as a caller's patience bears."""
        if any(denial.kind == "rate" for denial in denials):
            return False  # nothing gives a rate back
        taken_unheard = self._unknown.among(reservation.tenant, truth.leases)[:FINISHED_AT_ONCE]
        for lease_id in taken_unheard:
            self._release(reservation.tenant, lease_id, truth.leases[lease_id], Units())
        crowded = all(denial.kind == "crowd" for denial in denials)
        return bool(taken_unheard) or (crowded and self._finish_expired(reservation, truth))

    def _spread(self) -> "Spread":
        if self._divided is None:
            if self._spread_of is None:
                raise TypeError("A meter is divided, and this process was not told how to spread over shards.")
            self._divided = self._spread_of(self)
        return self._divided

    def _finish_expired(self, reservation: Reservation, truth: Meter) -> bool:
        """Whether any lease had expired; those that had are finished, as many as it takes to make room."""
        expired = [(name, held) for name, held in truth.leases.items() if held.expires_ms < reservation.now_ms]
        needed = len(truth.leases) - reservation.limits.in_flight + 1
        for lease_id, held in expired[: max(needed, FINISHED_AT_ONCE)]:
            self._finish(reservation.tenant, lease_id, held, reservation.now_ms)
        return bool(expired)

    def _finish(self, meter: str, lease_id: str, held: Held, now_ms: int) -> None:
        """End a lease whose owner died: by its own entry if it wrote one, else by declaring it abandoned."""
        abandoned = Entry(
            tenant=tenant_of(meter),
            lease_id=lease_id,
            request_id=lease_id,
            outcome="abandoned",
            reason="LeaseExpired",
            used=Units(),
            charged=Units(),
            admitted_ms=held.admitted_ms,
            settled_ms=now_ms,
            region=self._region,
        )
        # One call that both looks and decides: whichever entry comes first is the truth.
        there = self._ledger.put_if_absent(abandoned)
        self._release(meter, lease_id, held, (there or abandoned).charged)

    def _release(self, meter: str, lease_id: str, held: Held | Lease, charged: Units) -> None:
        todo = release(meter, lease_id, held, charged)
        while True:
            try:
                return self._meters.release(todo)
            except Lost as lost:
                # Ends: each time round, at least one window has turned for good, or the lease is gone.
                left = still_to_do(todo, lost.truth)
            if left is None:
                return None
            todo = left

    def _remember(self, tenant: str, meter: Meter) -> None:
        self._seen[tenant] = meter
        with suppress(KeyError):  # another thread forgot it
            self._seen.move_to_end(tenant)
            while len(self._seen) > MOST_SEEN:
                self._seen.popitem(last=False)


def _lease(reservation: Reservation, held: Held, meter: Meter) -> Lease:
    return Lease(
        tenant=reservation.tenant,
        meter=reservation.tenant,
        lease_id=reservation.lease_id,
        reserved=reservation.units,
        windows=held.windows,
        admitted_ms=held.admitted_ms,
        expires_ms=held.expires_ms,
        budget_set=held.budget_set,
        standing=standing(reservation.limits, meter, reservation.now_ms),
    )
