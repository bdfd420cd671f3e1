"""A KMS behind real HTTP, for what is sealed by KMS."""

from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from tests.sealed.served_kms import Client


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address of a KMS."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def kms(served: str) -> Client:
    return Client(served)
