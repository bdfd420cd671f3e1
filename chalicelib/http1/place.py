"""Where a server is."""

from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

_PORTS = {"http": 80, "https": 443}
_IN_A_PATH = "/%:@!$&'()*+,;=~"  # RFC 3986 section 3.3; what is encoded already stays as it is


class Place(msgspec.Struct, frozen=True):
    """One server, and the path under which everything that is asked of it stands."""

    name: str  # or address, without an IPv6 one's brackets
    port: int
    tls: bool
    host: str  # as the header of that name says it
    path: str  # as it goes over the wire, without a slash at its end; empty for the root
    addresses: tuple[Any, ...] = ()  # where it is dialled, as `dialling.Address`; empty: wherever its name leads

    @classmethod
    def of(cls, url: str) -> "Place":
        """Raises ValueError for what is no URL of a server."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
            raise ValueError("This is not the URL of a server.")
        name = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
        usual = _PORTS[parts.scheme]
        port = parts.port or usual
        said = f"[{name}]" if ":" in name else name
        path = quote(parts.path.rstrip("/"), safe=_IN_A_PATH)
        return cls(name, port, parts.scheme == "https", said if port == usual else f"{said}:{port}", path)
