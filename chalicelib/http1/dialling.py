"""A socket to a place, in time: the system's resolver knows no deadline, and a name may have many addresses."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from chalicelib.http1.failure import Unreachable, symptom_of
from chalicelib.http1.place import Place
from chalicelib.http1.trust import Trust

Address = tuple[Any, ...]
"""As `socket.getaddrinfo` gives it."""

LookUp = Callable[[str, int], Sequence[Address]]
"""A name's addresses, however long that takes. Raises OSError, UnicodeError."""


class Names:
    """Thread-safe. Who asks for a name that is being looked up waits for the same answer: so a resolver that has died
    holds one thread for each name, not one for each request."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._under_way: dict[tuple[str, int], _Lookup] = {}
        self._lock = threading.Lock()

    def addresses(self, name: str, port: int, within_s: float) -> Sequence[Address]:
        """At least one. Raises Unreachable."""
        with self._lock:
            lookup = self._under_way.get((name, port))
            if lookup is None:
                lookup = _Lookup()
                threading.Thread(target=self._run, args=(lookup, name, port), daemon=True).start()
                self._under_way[name, port] = lookup
        if not lookup.over.wait(within_s):
            raise Unreachable("name not resolved in time")
        if not lookup.found:
            raise Unreachable("name not resolved")
        return lookup.found

    def _run(self, lookup: "_Lookup", name: str, port: int) -> None:
        try:
            lookup.found = self._look_up(name, port)
        except (OSError, UnicodeError):
            pass
        finally:
            with self._lock:
                del self._under_way[name, port]
            lookup.over.set()


class _Lookup:
    def __init__(self) -> None:
        self.found: Sequence[Address] = ()
        self.over = threading.Event()


def dialled(place: Place, trust: Trust, within_s: float) -> socket.socket:
    """Connected, whichever of its addresses answers; TLS may take as long once more. Raises Unreachable."""
    due_s = time.monotonic() + within_s
    connected = first_to_answer(_addresses(place, within_s), due_s)
    connected.settimeout(within_s)
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Who serves a long answer in silence would otherwise be forgotten by what lies between (NAT gateways: 350 s).
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if not place.tls:
            return connected
        # An end without a farewell may be anybody's doing: it must not pass for the end of an answer (RFC 9112 9.8).
        return trust().wrap_socket(connected, server_hostname=_spelled(place.name), suppress_ragged_eofs=False)
    except (OSError, ValueError) as error:
        connected.close()
        raise Unreachable(symptom_of(error) if isinstance(error, OSError) else "tls name") from error


def first_to_answer(addresses: Sequence[Address], due_s: float) -> socket.socket:
    """Each is tried for its part of the time that is left till `due_s`, of `time.monotonic`. Raises Unreachable."""
    failure = Unreachable("TimeoutError")
    for place, (family, kind, protocol, _, address) in enumerate(addresses):
        left_s = due_s - time.monotonic()
        if left_s <= 0:
            break
        connecting = socket.socket(family, kind, protocol)
        connecting.settimeout(left_s / (len(addresses) - place))
        try:
            connecting.connect(address)
        except OSError as error:
            connecting.close()
            failure = Unreachable(symptom_of(error))
        else:
            return connecting
    raise failure


def _addresses(place: Place, within_s: float) -> Sequence[Address]:
    if place.addresses:
        return place.addresses
    try:  # an address needs no looking up, and no thread for it
        return socket.getaddrinfo(
            _spelled(place.name), place.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except (OSError, UnicodeError):
        return _names.addresses(place.name, place.port, within_s)


def _look_up(name: str, port: int) -> Sequence[Address]:
    return socket.getaddrinfo(_spelled(name), port, type=socket.SOCK_STREAM)


def _spelled(name: str) -> str | bytes:
    """As the resolver is asked. Of text Python makes IDNA, by tables that it need not load for names in ASCII."""
    return name.encode() if name.isascii() else name


_names = Names(_look_up)
