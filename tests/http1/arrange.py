"""A server whose every byte a test decides, and ours who asks it."""

from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.http1 import message, trust
from chalicelib.http1.answer import Answer
from chalicelib.http1.place import Place
from chalicelib.http1.server import Patience, Server
from tests.engines.servers import Handler, serving
from tests.engines.servers import Server as Other

PATIENT = Patience(connect_s=60, silence_s=60)


@contextmanager
def asking(handler: Handler, patience: Patience = PATIENT) -> Iterator[tuple[Server, Other]]:
    with serving(handler) as other:
        server = Server(Place.of(other.root), patience, trust.of_the_system)
        try:
            yield server, other
        finally:
            server.forget()


def ask(server: Server, body: bytes = b"?", patience: Patience | None = None) -> Answer:
    return server.ask(message.head("POST", "/", server.place.host, {}, len(body)), body, patience)
