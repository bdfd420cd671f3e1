"""What happened: one entry for each admitted request, and the request that an Idempotency-Key stands for."""

from chalicelib.ledger.entry import Audited, Entry, Outcome
from chalicelib.ledger.lease_id import RANDOM_BITS, new_lease_id
from chalicelib.ledger.records import Claim, Claims, Ledger, Page
from chalicelib.ledger.store import DynamoLedger
from chalicelib.ledger.units import Unit, Units

__all__ = [
    "RANDOM_BITS",
    "Audited",
    "Claim",
    "Claims",
    "DynamoLedger",
    "Entry",
    "Ledger",
    "Outcome",
    "Page",
    "Unit",
    "Units",
    "new_lease_id",
]
