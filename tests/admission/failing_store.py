"""A store that fails as it is told to, beside the same store itself to look at."""

from collections.abc import Callable

from chalicelib.admission import Admission
from chalicelib.admission.limits import Limits, Units
from chalicelib.admission.meter import Lease, Meter
from chalicelib.admission.outcomes import UnknownOutcomes
from chalicelib.admission.store import DynamoMeters
from chalicelib.ledger.store import DynamoLedger
from tests.admission.arrange import REGION, T0
from tests.admission.backing import LEASE_MS
from tests.fault_proxy import FaultProxy
from tests.stores import fresh_tables, prefix_of, reach_tables


class FailingStore:
    """What its sandboxes write goes by `proxy`; `meters` and `ledger` are read past it."""

    def __init__(self, proxy: FaultProxy, proxied: str, direct: str) -> None:
        truth = fresh_tables(direct)
        self.proxy = proxy
        self.meters = DynamoMeters(truth, REGION)
        self.ledger = DynamoLedger(truth)
        self.epoch = self.meters.open("acme", T0)
        self._proxied = proxied
        self._prefix = prefix_of(truth)

    def behind_it(
        self, deadline_ms: int, begin: Callable[[UnknownOutcomes], None], pause: Callable[[int], None]
    ) -> Admission:
        """A sandbox that waits so long for an answer."""
        through = reach_tables(self._proxied, self._prefix, deadline_ms)
        return Admission(
            DynamoMeters(through, REGION),
            DynamoLedger(through),
            lease_ms=LEASE_MS,
            region=REGION,
            pause=pause,
            begin=begin,
        )

    def admitted_by(self, sandbox: Admission, limits: Limits, lease_id: str) -> Lease:
        return sandbox.admit(
            tenant="acme",
            epoch=self.epoch,
            limits=limits,
            units=Units(requests=1, tokens=100),
            lease_id=lease_id,
            now_ms=T0,
        )

    def meter(self) -> Meter:
        meter = self.meters.reading("acme")
        assert meter is not None
        return meter
