"""Everything a request needs besides itself."""

from collections.abc import Mapping

import msgspec

from chalicelib.admission import Admission, Meters
from chalicelib.clock import Clock
from chalicelib.engines import Engine
from chalicelib.ledger import Claims, Heads, Ledger
from chalicelib.placement.health import Health
from chalicelib.settings import Settings
from chalicelib.telemetry import Telemetry
from chalicelib.tenancy import Randomness
from chalicelib.tenancy.snapshot import Snapshots
from chalicelib.tickets import Tickets


class House(msgspec.Struct, frozen=True):
    """Built once for each sandbox by `wiring`; every member may be used from many threads."""

    settings: Settings
    clock: Clock
    randomness: Randomness
    snapshots: Snapshots
    meters: Meters
    admission: Admission
    ledger: Ledger
    claims: Claims
    heads: Heads
    engines: Mapping[str, Engine]
    health: Health
    telemetry: Telemetry
    tickets: Tickets
