"""What the gateway does for sealed inference besides carrying it: permit, by tickets, what an enclave may open.

    ticket    what is permitted, as the enclave reads it      issuer    issuing them
    secret    where the key that signs them is kept           arn       which KMS keys a tenant may name

The gateway never sees inside anything sealed, and has no key that would open it.
"""

from chalicelib.tickets.arn import KeyArn
from chalicelib.tickets.issuer import Tickets
from chalicelib.tickets.ticket import Claims, Use

__all__ = ["Claims", "KeyArn", "Tickets", "Use"]
