"""May this run now: rates, budgets and a concurrency cap, decided by one conditional write.

    limits.py      what may be set               validity.py   what may not
    rates.py       GCRA                          budgets.py    calendar windows
    decision.py    predict a write, judge a failed one: pure
    denial.py      which no the caller hears     remembered.py noes that need no store
    meter.py       the state                     meters.py        its seam; store.py, memory.py behind it
    leases.py      how a lease is written        sets.py          the budgets that it names there
    regions.py     those of several regions      divisible.py  those that may be divided, into shares/
    gate.py        admit, renew, settle, reap    outcomes.py      writes that nobody heard of

The theory is in docs/admission.md.
"""

from chalicelib.admission.decision import standing
from chalicelib.admission.denial import Denial, strictest
from chalicelib.admission.gate import Admission, LeaseLost
from chalicelib.admission.limits import DEFAULT_LIMITS, Budget, Limits, Rate, Unit, Units, WindowKind
from chalicelib.admission.meter import Held, Lease, Lost, Meter, NoMeter, StaleEpoch, Standing
from chalicelib.admission.meters import Epochs, Meters
from chalicelib.admission.validity import check
from chalicelib.ledger.lease_id import lease_id_of, new_lease_id

__all__ = [
    "DEFAULT_LIMITS",
    "Admission",
    "Budget",
    "Denial",
    "Epochs",
    "Held",
    "Lease",
    "LeaseLost",
    "Limits",
    "Lost",
    "Meter",
    "Meters",
    "NoMeter",
    "Rate",
    "StaleEpoch",
    "Standing",
    "Unit",
    "Units",
    "WindowKind",
    "check",
    "lease_id_of",
    "new_lease_id",
    "standing",
    "strictest",
]
