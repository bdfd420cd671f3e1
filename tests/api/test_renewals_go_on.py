"""What ends may take long to settle; what runs keeps its lease all the same."""

import asyncio
import threading

import msgspec

from chalicelib.admission.limits import Limits
from chalicelib.call import Delta, Started
from chalicelib.http.bridge import ASIDE
from chalicelib.ledger import Entry
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.settings import Settings
from tests.api.test_leaving import CHUNK, Client, Front, eventually, play
from tests.api.test_streams_at_once import BEGUN, NEVER, REST, have_begun
from tests.patience import PATIENCE_S
from tests.small_deployments import memory


class HeldLedger(MemoryLedger):
    """Takes no entry before it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.settling = 0

    def put_if_absent(self, entry: Entry) -> Entry | None:
        self.settling += 1
        assert self.let.wait(PATIENCE_S)
        return super().put_if_absent(entry)


def test_settlements_that_hang_keep_no_running_stream_from_its_lease() -> None:
    ledger = HeldLedger()
    end, on = threading.Event(), threading.Event()
    many = Front(
        *(*BEGUN, end, *REST),
        store=msgspec.structs.replace(memory(), ledger=ledger),
        limits=Limits((), (), in_flight=2 * ASIDE),
        gaps=NEVER,
    )

    def expiries() -> list[int]:
        meter = many.deployment.store.meters.reading("acme")
        return [lease.expires_ms for lease in meter.leases.values()] if meter else []

    async def scene() -> None:
        ending = [Client(many) for _ in range(ASIDE)]
        await have_begun(ending)
        many.scripts[:] = [(Started("i"), Delta(CHUNK, 1), on, Delta(CHUNK, 1), threading.Event())]
        living = Client(many)
        await living.until(lambda: CHUNK in living.body)
        end.set()
        await eventually(lambda: ledger.settling == ASIDE)
        many.deployment.clock.now_ms += Settings().renew_ms
        kept_until_ms = many.deployment.clock.now_ms + Settings().lease_ms
        on.set()
        await eventually(lambda: kept_until_ms in expiries())
        assert ledger.settling == ASIDE
        ledger.let.set()
        living.leave()
        await asyncio.gather(living.exchange, *(stream.exchange for stream in ending))

    play(many, scene)
    assert len(many.entries) == ASIDE + 1
