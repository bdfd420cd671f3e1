"""Lists of networks, and which of them an address is in: one look for each length of prefix that the list has. Pure."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import Annotated, Literal

import msgspec

from chalicelib.refusal import Malformed
from chalicelib.tenancy.sources import MAPPED, NetworkSource, address_of

MOST_ENTRIES = 10_000


class ListedNetwork(msgspec.Struct, frozen=True):
    """A network, and why it is listed. `deny`: nobody is let in from there; `watch`: operators are told who calls."""

    network: Annotated[
        str,
        msgspec.Meta(min_length=1, max_length=50, description="as 203.0.113.0/24 or 2001:db8::/32, or an address"),
    ]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    list: Literal["deny", "watch"] = "deny"
    expires_ms: int | None = None  # from when on it counts no more

    def counts(self, now_ms: int) -> bool:
        return self.expires_ms is None or now_ms < self.expires_ms


class Networks:
    """Entries, as they are compared."""

    def __init__(self, entries: Sequence[ListedNetwork] = ()) -> None:
        """Of sound ones."""
        self._by_version: dict[int, dict[int, dict[int, ListedNetwork]]] = {4: {}, 6: {}}
        for entry in entries:
            network = ip_network(entry.network)
            lengths = self._by_version[network.version]
            lengths.setdefault(network.prefixlen, {})[int(network.network_address)] = entry
        self.empty = not entries

    def entry_for(self, source: NetworkSource, now_ms: int) -> ListedNetwork | None:
        """Behind a VPC endpoint addresses are private, and nobody's in particular: those are in no list."""
        if self.empty or source.vpc_endpoint:
            return None
        address = address_of(source.ip)
        if address is None:
            return None
        number, bits = int(address), address.max_prefixlen
        for length, entries in self._by_version[address.version].items():
            entry = entries.get(number >> (bits - length) << (bits - length))
            if entry is not None and entry.counts(now_ms):
                return entry
        return None


def subscriber_of(source: NetworkSource) -> str:
    """Who is counted as one address: of IPv6 a network of 64 bits, which a subscriber has at least (RFC 6177)."""
    address: IPv4Address | IPv6Address | None = None if source.vpc_endpoint else address_of(source.ip)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(source) if address is None else str(address)


def must_be_sound(entries: Sequence[ListedNetwork]) -> None:
    """Raises Malformed."""
    if len(entries) > MOST_ENTRIES:
        raise Malformed(f"The lists have {MOST_ENTRIES:,} entries at most: join networks.", field="entries")
    known: set[tuple[str, str]] = set()
    for index, entry in enumerate(entries):
        field = f"entries[{index}].network"
        try:
            network = ip_network(entry.network)
        except ValueError:
            raise Malformed(
                f"{entry.network!r} is no network by its first address, as 203.0.113.0/24 or 2001:db8::/32, and no "
                "address.",
                field=field,
            ) from None
        if network.prefixlen == 0:
            raise Malformed("This is everybody.", field=field)
        if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
            raise Malformed(f"{network} is an IPv4 network: write it as one, as 203.0.113.0/24.", field=field)
        if (entry.list, str(network)) in known:
            raise Malformed(f"{network} is in this list twice.", field=field)
        known.add((entry.list, str(network)))
