"""Everything a request needs on its way besides itself."""

import msgspec

from chalicelib.admission import Admission
from chalicelib.clock import Clock
from chalicelib.inference.running import RunningStreams
from chalicelib.ledger import FirstUses, Ledger
from chalicelib.placement import Placement
from chalicelib.randomness import Randomness
from chalicelib.settings import Settings
from chalicelib.telemetry import Telemetry
from chalicelib.tenancy.snapshot import Snapshots
from chalicelib.tickets import Tickets


class Path(msgspec.Struct, frozen=True):
    """Built once for each sandbox by `wiring`; every member may be used from many threads."""

    settings: Settings
    clock: Clock
    randomness: Randomness
    snapshots: Snapshots
    admission: Admission
    ledger: Ledger
    first_uses: FirstUses
    placement: Placement
    tickets: Tickets
    telemetry: Telemetry
    running: RunningStreams = msgspec.field(default_factory=RunningStreams)
