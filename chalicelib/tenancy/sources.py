"""From where a tenant's callers are let in: networks, and VPC endpoints.

They stand in the tenant's document, so that each change moves its epoch: what came from elsewhere is refused from the
next request on, and running streams are judged again.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

from chalicelib.refusal import Malformed
from chalicelib.tenancy.records import Records
from chalicelib.tenancy.tenant import Tenant

MOST_SOURCES = 100
REMEMBERED = 1_000
"""Lists of tenants that are kept as they are compared."""

_VPC_ENDPOINT = re.compile(r"vpce-[0-9a-f]{8,17}")
MAPPED = IPv6Network("::ffff:0:0/96")
"""IPv4, as IPv6 writes it."""


class NetworkSource(msgspec.Struct, frozen=True):
    """From where a request came, as whoever stands before the gateway says it, and no client can."""

    ip: str = ""
    vpc_endpoint: str = ""  # of API Gateway's, by which it came; empty where it came by none

    def __str__(self) -> str:
        return self.vpc_endpoint or self.ip or "an address that is not known"


class Sources:
    """Every change of a tenant's sources. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def put(self, tenant_id: str, sources: Sequence[str]) -> Tenant:
        """These, and no others, from the next request on; none: everywhere. Raises Malformed."""
        must_be_sound(sources)
        return self._records.change_tenant(
            tenant_id, lambda tenant: msgspec.structs.replace(tenant, sources=tuple(sources))
        )


def lets_in(sources: Sequence[str], source: NetworkSource) -> bool:
    """Whether a request from there may come in; with no sources, from everywhere."""
    if not sources:
        return True
    # Behind a VPC endpoint addresses are private, and every VPC has the same ones: the endpoint alone says whose it is.
    if source.vpc_endpoint:
        return source.vpc_endpoint in sources
    address = address_of(source.ip)
    return address is not None and any(address in network for network in _networks(tuple(sources)))


def must_be_sound(sources: Sequence[str]) -> None:
    """Raises Malformed for what would let in nobody, or others than it seems to."""
    if len(sources) > MOST_SOURCES:
        raise Malformed(f"A tenant has {MOST_SOURCES} sources at most: join networks.", field="sources")
    for index, source in enumerate(sources):
        field = f"sources[{index}]"
        if source in sources[:index]:
            raise Malformed(f"{source!r} is there twice.", field=field)
        if _VPC_ENDPOINT.fullmatch(source):
            continue
        try:
            network = ip_network(source)
        except ValueError:
            raise Malformed(
                f"{source[:64]!r} is no network by its first address, as 203.0.113.0/24 or 2001:db8::/32, no address, "
                "and no VPC endpoint, as vpce-0123456789abcdef0.",
                field=field,
            ) from None
        if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
            raise Malformed(f"{source} is an IPv4 network: write it as one, as 203.0.113.0/24.", field=field)


@lru_cache(REMEMBERED)
def _networks(sources: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(source) for source in sources if not source.startswith("vpce-"))


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """None where it is not known. An IPv4 address is one also where a socket shows it as IPv6's."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
