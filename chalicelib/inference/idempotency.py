"""An `Idempotency-Key` stands for one request: whoever repeats it gets a clear refusal, never a second charge.

The claim is made while the lease is held. So a claim whose lease is not on the meter any more has its
entry in the ledger, and nothing in between has to be guessed from clocks.
"""

import hashlib

from chalicelib.admission import Lease
from chalicelib.inference.path import Path
from chalicelib.ledger import Units
from chalicelib.refusal import Conflict

KEY_MS = 24 * 3_600_000
"""How long an Idempotency-Key stands for its request."""


def claim(key: str, lease: Lease, path: Path, keep_ms: int = KEY_MS) -> None:
    """Let the key stand for this lease.

    A key whose request failed without a charge may be used again. Raises Conflict; StoreUnavailable.
    """
    digest = hashlib.sha256(key.encode()).hexdigest()
    found = path.first_uses.claim(lease.tenant, digest, lease.lease_id, lease.admitted_ms, keep_ms)
    if found is None:
        return
    if path.admission.holds(lease.tenant, found.lease_id):
        raise Conflict("A request with this Idempotency-Key is still running. Wait for it.", retry_in_ms=1_000)
    entry = path.ledger.find(lease.tenant, found.lease_id)
    if entry is not None and entry.charged != Units():
        raise Conflict(
            f"This Idempotency-Key was used by request {entry.request_id}, which {entry.outcome} and was charged "
            f"{entry.charged.tokens} tokens. Its answer is not kept; use a new key to run it again."
        )
    if not path.first_uses.replace(lease.tenant, found, lease.lease_id, lease.admitted_ms, keep_ms):
        raise Conflict("A request with this Idempotency-Key is still running. Wait for it.", retry_in_ms=1_000)
