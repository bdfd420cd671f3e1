"""What happened: one entry for each admitted request, and the request that an Idempotency-Key stands for.

entry      what is said of a request          records     its seam; store and memory behind it
chain      entries in hash chains             head        a day's chains, as they are signed; heads is its seam
notary     signs the days that are over       signature   with a key in KMS
log        entries as an auditor asks for them
lease_id   ids that sort by time              units       amounts of all that is limited or billed
lateness   marks of entries that came late
"""

from chalicelib.ledger.entry import Audited, Entry, Outcome
from chalicelib.ledger.heads import Heads
from chalicelib.ledger.lease_id import lease_id_of, new_lease_id
from chalicelib.ledger.records import FirstUse, FirstUses, Ledger, Log, Page
from chalicelib.ledger.units import Unit, Units

__all__ = [
    "Audited",
    "Entry",
    "FirstUse",
    "FirstUses",
    "Heads",
    "Ledger",
    "Log",
    "Outcome",
    "Page",
    "Unit",
    "Units",
    "lease_id_of",
    "new_lease_id",
]
