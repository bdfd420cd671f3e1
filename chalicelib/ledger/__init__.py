"""What happened: one entry for each admitted request, and the request that an Idempotency-Key stands for.

entry.py    what is said of a request     records.py    its seam; store.py, memory.py behind it
chain.py    entries in hash chains        head.py       a day's chains, as they are signed; heads.py its seam
notary.py   signs the days that are over  signature.py  with a key in KMS
"""

from chalicelib.ledger.entry import Audited, Entry, Outcome
from chalicelib.ledger.heads import Heads
from chalicelib.ledger.lease_id import lease_id_of, new_lease_id
from chalicelib.ledger.records import Claim, Claims, Ledger, Page
from chalicelib.ledger.store import DynamoHeads, DynamoLedger
from chalicelib.ledger.units import Unit, Units

__all__ = [
    "Audited",
    "Claim",
    "Claims",
    "DynamoHeads",
    "DynamoLedger",
    "Entry",
    "Heads",
    "Ledger",
    "Outcome",
    "Page",
    "Unit",
    "Units",
    "lease_id_of",
    "new_lease_id",
]
