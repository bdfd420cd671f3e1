"""Writes whose outcome is unknown, made sure of as soon as the store answers again.

A write that was given up on may have been made, or may be made yet by a store that is only slow.

    an admission    was refused to its caller, so its lease, should there be one, is held for nothing: it is released,
                    and leaves no entry, because nothing was admitted
    a settlement    is repeated, which changes nothing where it was made

One thread does it, and lives from the first unknown outcome to the end of the last. The store is asked twice a second
until it answers, and at once when anybody else hears from it. An admission is looked for again some times after that:
one that is made late is held for at most about as long again as it was late. Where a process is frozen between requests
(Lambda), the thread goes on with the next one. What is lost with the process, or is too much to remember, is made good
as ever: the lease expires, and is finished by whoever finds it.
"""

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection

import msgspec

from chalicelib.admission.meter import Lease
from chalicelib.ledger import Entry
from chalicelib.refusal import StoreUnavailable

RETRY_MS = 500
# After each look that the store answered.
LOOKS_MS = (1_000, 2_000, 4_000, 8_000, 16_000)
# The oldest are forgotten first: their leases expire first.
MOST = 4_096


class _Unknown(msgspec.Struct):
    tenant: str
    lease_id: str
    settlement: tuple[Lease, Entry] | None  # None: an admission
    due_ms: int
    until_ms: int | None  # None: until the store answers
    looks: int = 0  # that the store answered


def in_a_thread(outcomes: "UnknownOutcomes") -> None:
    """Begin their work beside the caller; a process does not wait for it at its end."""
    threading.Thread(target=outcomes.work, name="unknown-outcomes", daemon=True).start()


def as_of_a_thread(error: Exception) -> None:
    """Tell of it as Python does of what ends a thread."""
    told = (type(error), error, error.__traceback__, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(told))


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class UnknownOutcomes:
    """Bounded; safe to use from several threads."""

    def __init__(
        self,
        release: Callable[[str, Collection[str]], None],
        settle: Callable[[Lease, Entry], object],
        *,
        lease_ms: int,
        begin: Callable[["UnknownOutcomes"], None] = in_a_thread,
        clock: Callable[[], int] = monotonic_ms,
        report: Callable[[Exception], None] = as_of_a_thread,
    ) -> None:
        """`release`: those of a tenant's leases that are there; `settle`: again. Both may raise StoreUnavailable;
        after anything else, a bug, `report` is told of it, and what it befell is forgotten.

        An admission is looked for until its lease has expired, `lease_ms`. `begin` has `work` run beside
        its caller; it ends by itself.
        """
        self._release = release
        self._settle = settle
        self._lease_ms = lease_ms
        self._begin = begin
        self._clock = clock
        self._report = report
        self._lock = threading.Lock()
        self._unknown: OrderedDict[tuple[str, str], _Unknown] = OrderedDict()
        self._woken = threading.Event()
        self._running = False
        self._heard = False  # from the store, since the last look
        self.waiting = False  # for the store to answer

    def admission(self, tenant: str, lease_id: str) -> None:
        """The store did not say whether it took this lease, and its caller was refused."""
        now_ms = self._clock()
        self._note(_Unknown(tenant, lease_id, None, now_ms, now_ms + self._lease_ms))

    def settlement(self, lease: Lease, entry: Entry) -> None:
        """The store did not say whether it took this entry and freed its lease."""
        now_ms = self._clock()
        self._note(_Unknown(lease.tenant, lease.lease_id, (lease, entry), now_ms, None))

    def among(self, tenant: str, lease_ids: Collection[str]) -> list[str]:
        """Those of these leases of the tenant that nobody uses: their callers were refused."""
        if not self._unknown:
            return []
        with self._lock:
            found = [self._unknown.get((tenant, lease_id)) for lease_id in lease_ids]
        return [each.lease_id for each in found if each is not None and each.settlement is None]

    def answered(self) -> None:
        """The store does answer. To be told where it is `waiting`; a call more is for nothing."""
        self._heard = True
        self._woken.set()

    def work(self) -> None:
        """Make sure of everything that is unknown; ends when nothing is."""
        try:
            while (pause_ms := self.look()) is not None:
                self._woken.wait(pause_ms / 1_000)
                self._woken.clear()
        except BaseException:
            self._running = False
            raise

    def look(self) -> int | None:
        """Make sure of what is due; milliseconds until more is, None where nothing is left, which ends the work."""
        heard, self._heard = self._heard, False
        now_ms = self._clock()
        with self._lock:
            due = [each for each in self._unknown.values() if each.due_ms <= now_ms or (heard and not each.looks)]
        for together in _together(due):
            try:
                self._make_sure(together)
            except StoreUnavailable:
                self._put_off(due, together)
                break
            except Exception as error:
                # It would break again, each time before those that come after it.
                with self._lock:
                    for each in together:
                        self._forget(each)
                self._report(error)
        with self._lock:
            self.waiting = any(not each.looks for each in self._unknown.values())
            if not self._unknown:
                self._running = False
                return None
            return max(0, min(each.due_ms for each in self._unknown.values()) - self._clock())

    def _make_sure(self, together: list[_Unknown]) -> None:
        first = together[0]
        if first.settlement is not None:
            self._settle(*first.settlement)
        else:
            self._release(first.tenant, [each.lease_id for each in together])
        with self._lock:
            for each in together:
                if each.until_ms is None or each.looks == len(LOOKS_MS):
                    self._forget(each)
                else:
                    each.due_ms = self._clock() + LOOKS_MS[each.looks]
                    each.looks += 1

    def _put_off(self, due: list[_Unknown], failed: list[_Unknown]) -> None:
        with self._lock:
            for each in failed:  # to the end: where it is one tenant's meter alone that fails, nobody waits for it
                if self._unknown.get((each.tenant, each.lease_id)) is each:
                    self._unknown.move_to_end((each.tenant, each.lease_id))
            due_ms = self._clock() + RETRY_MS
            for each in due:
                each.due_ms = max(each.due_ms, due_ms)
                if each.until_ms is not None and each.until_ms < due_ms:
                    self._forget(each)

    def _forget(self, unknown: _Unknown) -> None:
        # A settlement leaves another behind, where its lease was taken by the second of two sendings.
        if self._unknown.get((unknown.tenant, unknown.lease_id)) is unknown:
            del self._unknown[unknown.tenant, unknown.lease_id]

    def _note(self, unknown: _Unknown) -> None:
        with self._lock:
            self._unknown[unknown.tenant, unknown.lease_id] = unknown
            if len(self._unknown) > MOST:
                self._unknown.popitem(last=False)
            self.waiting = True
            begins, self._running = not self._running, True
        self._woken.set()
        if begins:
            self._begin(self)


def _together(due: list[_Unknown]) -> list[list[_Unknown]]:
    """One settlement, or all admissions of one tenant, which one look at its meter tells of."""
    admissions: dict[str, list[_Unknown]] = defaultdict(list)
    for each in due:
        if each.settlement is None:
            admissions[each.tenant].append(each)
    return [*([each] for each in due if each.settlement is not None), *admissions.values()]
