"""Everything a request needs on its way besides itself."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from chalicelib.admission import Admission
from chalicelib.clock import Clock
from chalicelib.identity.claims import Claims
from chalicelib.inference.running import RunningStreams
from chalicelib.ledger import FirstUses, Ledger
from chalicelib.placement import Placement
from chalicelib.randomness import Randomness
from chalicelib.settings import Settings
from chalicelib.sight import Telemetry
from chalicelib.tenancy.snapshot import Snapshots
from chalicelib.tenancy.tenant import Issuer
from chalicelib.tickets import Tickets
from chalicelib.velocity import Velocity

if TYPE_CHECKING:
    from chalicelib.dialects.apply_guardrail import ApplyGuardrail
    from chalicelib.identity.tokens.verified import Tokens


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
    tokens: "Callable[[], Tokens]"  # loaded by the first token
    velocity: Velocity
    apply_guardrail: "Callable[[], ApplyGuardrail] | None" = None  # loaded by the first text; None: nobody does here
    running: RunningStreams = msgspec.field(default_factory=RunningStreams)

    def verified(self, text: str, issuers: Sequence[Issuer], now_ms: int) -> Claims:
        """Implements Verify."""
        return self.tokens().verified(text, issuers, now_ms)

    def remembered(self, text: str, issuers: Sequence[Issuer], now_ms: int) -> Claims:
        """Implements Verify, of what this process has verified already: where nothing may be waited for."""
        return self.tokens().remembered(text, issuers, now_ms)
