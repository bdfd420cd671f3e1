"""A tenant whose meter may be divided, and the sandboxes that serve it."""

from collections.abc import Callable

from chalicelib.admission import Admission, StaleEpoch
from chalicelib.admission.divisible import Divisible
from chalicelib.admission.limits import Limits, Units
from chalicelib.admission.meter import Lease
from chalicelib.admission.outcomes import monotonic_ms
from chalicelib.admission.shares.arithmetic import shards_of
from chalicelib.admission.shares.steward import State, Steward
from chalicelib.ledger import Entry, lease_id_of
from chalicelib.refusal import Refusal
from tests.admission.arrange import REGION, T0, entry
from tests.admission.backing import Backing

LEASE_MS = 90_000


class Sandbox:
    """One process: its caches, and its copy of the tenant."""

    def __init__(self, tenant: "Tenant", chance: int, monotonic: Callable[[], int]) -> None:
        self._tenant = tenant
        self.divisible = Divisible(
            tenant.backing.meters,
            lambda: tenant.backing.keeping,
            tenant.limits_of,
            tenant.clock,
            lambda: chance,
            monotonic,
        )
        self.admission = Admission(
            tenant.backing.meters,
            tenant.backing.ledger,
            lease_ms=LEASE_MS,
            region=REGION,
            pause=_no_pause,
            spread=self.divisible.spread,
        )
        self.read_again()

    def read_again(self) -> None:
        self.epoch = self._tenant.backing.meters.read("acme")
        self.limits = self._tenant.limits

    def try_once(self, tokens: int = 10) -> Lease:
        """Raises StaleEpoch, Refusal."""
        tenant = self._tenant
        tenant.count += 1
        return self.admission.admit(
            tenant="acme",
            epoch=self.epoch,
            limits=self.limits,
            units=Units(requests=1, tokens=tokens),
            lease_id=lease_id_of(tenant.now_ms, tenant.count),
            now_ms=tenant.now_ms,
        )

    def admit(self, tokens: int = 10) -> Lease:
        """As a request does: with a fresh copy where the old one is out of date. Raises Refusal."""
        for _ in range(3):
            try:
                return self.try_once(tokens)
            except StaleEpoch:
                self.read_again()
        raise AssertionError("the copy is out of date whenever it is read")

    def refused(self, tokens: int = 10) -> Refusal:
        try:
            self.admit(tokens)
        except Refusal as refusal:
            return refusal
        raise AssertionError("it was admitted")

    def settle(self, lease: Lease, tokens: int = 10) -> Entry:
        return self.admission.settle(lease, entry(lease, tokens=tokens, at_ms=self._tenant.now_ms))


class Tenant:
    """`acme`, its limits as they were set last, and the time."""

    def __init__(self, backing: Backing, of: Limits) -> None:
        self.backing = backing
        self.limits = of
        self.version = 1
        self.now_ms = T0
        self.count = 0
        backing.meters.open("acme", T0)
        self.divide()

    def limits_of(self, _: str) -> tuple[Limits, int]:
        return self.limits, self.version

    def clock(self) -> int:
        return self.now_ms

    def sandbox(self, chance: int = 0, monotonic: Callable[[], int] = monotonic_ms) -> Sandbox:
        return Sandbox(self, chance, monotonic)

    def divide(self) -> None:
        if shards_of(self.limits) > 1:
            self.sandbox().divisible.divide("acme")

    def change(self, of: Limits) -> None:
        """As the operator does it."""
        self.limits = of
        self.version += 1
        self.bump()
        self.divide()

    def bump(self) -> None:
        self.sandbox().divisible.bump("acme")

    def state(self) -> State | None:
        """Of its book, and of its shards."""
        return Steward(self.backing.keeping, self.backing.meters, self.limits_of, self.clock).state("acme")

    def shards(self) -> int:
        """How many meters it has that may be used."""
        state = self.state()
        return state.book.shards if state and state.shards[0].divided else 1


def _no_pause(pause_ms: int) -> None:
    return None
