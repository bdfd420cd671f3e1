"""Something out there, called as `addresses` allows: what was judged is what is dialled.

A name is resolved once. Every address that it has must pass, or none is called: a name with a public and a private one
is somebody's try. The addresses are dialled, the name is asked for and must be on the certificate, so that whoever
changes the name's addresses in between (rebinding) changes nothing.
"""

import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlencode

import msgspec

from chalicelib.egress.addresses import NotCallable, Url, is_public, must_be_callable, url_of
from chalicelib.http1 import message, trust
from chalicelib.http1.dialling import Address, LookUp, Names
from chalicelib.http1.place import Place
from chalicelib.http1.server import Patience, Server

PATIENCE = Patience(connect_s=2, silence_s=5)
RESOLVING_AT_ONCE = 32
"""Names. The system's resolver cannot be told to stop, and a hostile name keeps it for half a minute."""


class Fetched(msgspec.Struct, frozen=True):
    """An answer, whatever its status: a redirect is one, too."""

    status: int
    body: bytes


def look_up(name: str, port: int) -> Sequence[Address]:
    """By the system's resolver."""
    return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)


class Egress:
    """Thread-safe. Keeps no connection: whoever is called here is called seldom."""

    def __init__(self, allowed: Iterable[str] = (), look_up: LookUp = look_up, patience: Patience = PATIENCE) -> None:
        """`allowed`: origins that the operator has named, which are called wherever they are, over plain HTTP too.

        Raises NotCallable where one of them is no origin.
        """
        self._allowed = {url_of(origin).origin for origin in allowed}
        self._look_up = look_up
        self._names = Names(self._found)
        self._room = threading.BoundedSemaphore(RESOLVING_AT_ONCE)
        self._patience = patience

    def must_be_callable(self, url: str) -> Url:
        """Raises NotCallable where it can be said without resolving its name, for whoever names it."""
        taken = url_of(url)
        if taken.origin not in self._allowed:
            must_be_callable(taken)
        return taken

    def get(self, url: str, *, limit_bytes: int) -> Fetched:
        """Raises NotCallable, before a byte was sent; Failed, also where the body is longer than `limit_bytes`."""
        return self._asked("GET", url, {}, b"", limit_bytes)

    def post(self, url: str, form: Mapping[str, str], *, limit_bytes: int) -> Fetched:
        """Sends a form. Raises as `get`."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._asked("POST", url, kind, urlencode(form).encode(), limit_bytes)

    def _asked(self, method: str, url: str, kind: Mapping[str, str], body: bytes, limit_bytes: int) -> Fetched:
        taken = self.must_be_callable(url)
        host = taken.origin.partition("://")[2]
        place = Place(taken.name, taken.port, taken.scheme == "https", host, "", self._judged(taken))
        server = Server(place, self._patience, trust.of_the_system)
        headers = {"Accept": "application/json", "Connection": "close", "User-Agent": "cloister", **kind}
        answer = server.ask_once(message.head(method, taken.target, host, headers, len(body)), body)
        try:
            return Fetched(answer.status, answer.read(limit_bytes))
        finally:
            server.forget()

    def _judged(self, url: Url) -> tuple[Address, ...]:
        addresses = tuple(self._names.addresses(url.name, url.port, self._patience.connect_s))
        if url.origin not in self._allowed and not all(is_public(str(each[4][0])) for each in addresses):
            raise NotCallable("The name leads to an address that is not on the public Internet.")
        return addresses

    def _found(self, name: str, port: int) -> Sequence[Address]:
        if not self._room.acquire(blocking=False):
            raise OSError("too many names at once")
        try:
            return self._look_up(name, port)
        finally:
            self._room.release()
