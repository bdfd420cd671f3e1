"""Which URLs may be called, and which IP addresses. Pure.

What is not known to be somebody's public server is refused. A deny-list would have to know every way of writing an
address inside; so a URL has one spelling here, and an address is judged as the number that is going to be dialled.
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address

import msgspec

LONGEST_URL = 1_000

_PORTS = {"http": 80, "https": 443}
# RFC 3986, less than it allows: no user, no fragment, no percent in a host, nothing that is not printable ASCII.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[(?P<in_brackets>[0-9A-Fa-f:.]+)\])(:(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<target>(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?)"
)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# What resolvers and browsers take for a number rather than a name: decimal, octal, hexadecimal (WHATWG URL, 3.5).
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# https://www.iana.org/assignments/iana-ipv4-special-registry and its neighbour for IPv6, as of 2026: whatever is not a
# server's on the Internet. Python's `is_global` is not enough: in 3.11 it takes NAT64, 6to4 and multicast for global.
_CLOSED = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carriers' NAT
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local: the metadata of instances (.169.254) and of containers (.170.2)
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocols
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_OPEN_6 = IPv6Network("2000::/3")  # all that is given out; mapped, NAT64, private, link-local and multicast are outside
_CLOSED_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols: Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address in disguise
            "3fff::/20",  # documentation
        ),
    )
)


class NotCallable(Exception):
    """A URL, or where it leads, is not called. `why` is for whoever named it, and says what to name instead."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Url(msgspec.Struct, frozen=True):
    """Where something is, taken apart; nothing has been resolved."""

    scheme: str
    name: str  # in lower case; an IPv6 address without its brackets
    port: int
    target: str  # path and query as they go over the wire, with a slash at the beginning

    @property
    def origin(self) -> str:
        """As browsers say it: without the usual port."""
        named = f"[{self.name}]" if ":" in self.name else self.name
        return f"{self.scheme}://{named}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")

    @property
    def is_address(self) -> bool:
        return ":" in self.name or self.name[-1].isdigit()


def url_of(text: str) -> Url:
    """Raises NotCallable for what is no URL of a server, or could be read in two ways."""
    found = _URL.fullmatch(text) if len(text) <= LONGEST_URL else None
    if found is None:
        raise NotCallable(
            f"A URL is at most {LONGEST_URL} letters of ASCII: http:// or https://, a host, a path. No user, no "
            "fragment; a name in other letters is written as xn--..."
        )
    name = (found["in_brackets"] or found["host"]).lower()
    port = int(found["port"] or _PORTS[found["scheme"]])
    fits = _is_host(name) if found["in_brackets"] is None else ":" in name and _is_address(name)
    if not fits or port > 65_535:
        raise NotCallable(
            "The host of a URL is a name, an IPv4 address as four decimal numbers, or an IPv6 address in brackets; its "
            "port is at most 65535."
        )
    target = found["target"]
    return Url(found["scheme"], name, port, target if target.startswith("/") else f"/{target}")


def must_be_callable(url: Url) -> None:
    """What can be said of a URL before its name is resolved. Raises NotCallable."""
    if url.scheme != "https":
        raise NotCallable("The URL begins with https://: over plain HTTP anybody could answer.")
    if url.is_address and not is_public(url.name):
        raise NotCallable("The URL leads to an address that is not on the public Internet.")


def is_public(address: str) -> bool:
    """Whether an IP address is, as far as anybody can know, a server's on the Internet. Raises ValueError for none."""
    number = ip_address(address)
    if number.version == 4:
        return not any(number in network for network in _CLOSED)
    return number in _OPEN_6 and not any(number in network for network in _CLOSED_6)


def _is_host(name: str) -> bool:
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _is_address(name)
    return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in labels)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:  # also four numbers with leading zeros, which some read as octal
        return False
    return True
