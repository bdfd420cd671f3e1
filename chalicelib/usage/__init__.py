"""How much was used, by hour and day, told from the ledger. Never on the path of a request.

group      what an entry is counted under        tally     what is counted
latencies  how long, so that sums stay small     times     hours and days
rollup     a bucket's groups, as it is kept      rollups   the seam; store and memory behind it
counting   the ledger, counted once              roller    closes hours and days; run again, it changes nothing
reader     what is asked: closed buckets, and what is open from the ledger
totals     the audit log's, of groups instead of entries

An hour is closed when none of its entries can come any more without a mark of theirs in the ledger (`ledger/lateness`);
hours with such a mark are counted anew. Roll-ups follow from the ledger alone, so each can be made again.
"""

from chalicelib.usage.reader import Usage
from chalicelib.usage.roller import Roller
from chalicelib.usage.rollups import NoUsageTable, Rollups

__all__ = ["NoUsageTable", "Roller", "Rollups", "Usage"]
