"""Where a client is, behind proxies: what they append to `X-Forwarded-For`, and nobody else is believed."""

from collections.abc import Iterable
from ipaddress import ip_address

FORWARDED_FOR = b"x-forwarded-for"


def client_address(peer: str, headers: Iterable[tuple[bytes, bytes]], trusted_hops: int) -> str:
    """The address of the client whose request came over so many proxies of ours; `peer`: who connected to us.

    Each proxy appends who connected to it, so that the client is the `trusted_hops`-th from the right, and whatever
    stands before that it may have written itself. Where fewer stand there, or no address, the request did not come by
    our proxies: then, as with 0, it is the peer.
    """
    if not trusted_hops:
        return peer
    lines = (value.decode("latin-1") for name, value in headers if name == FORWARDED_FOR)
    hops = [hop.strip() for hop in ",".join(lines).split(",")]
    return _address(hops[-trusted_hops]) or peer if len(hops) >= trusted_hops else peer


def _address(hop: str) -> str | None:
    """Without the port that some proxies add: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ip_address(hop))
    except ValueError:
        return None
