"""Who may be called at an address that a tenant names, or that somebody names to whom a tenant sent us.

    addresses   which URLs and which IP addresses: pure
    fetch       calls them: resolved once, judged, dialled where it was judged, bounded in bytes and time

    egress = Egress(["http://127.0.0.1:5000"])     # origins that the operator allows wherever they are
    fetched = egress.get("https://login.example.com/.well-known/openid-configuration", limit_bytes=64_000)
    fetched.status, fetched.body

Nothing of ours goes along but what is asked for: no key, no cookie, no header of a caller's. Redirects are answers like
any other, and not followed. Which hosts are named at all is the business of whoever calls: an allow-list, always.
"""

from chalicelib.egress.addresses import NotCallable
from chalicelib.egress.fetch import Egress, Fetched

__all__ = ["Egress", "Fetched", "NotCallable"]
