from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from chalicelib.contents.data_keys import KeyService
from chalicelib.contents.kms import KmsKeys
from chalicelib.contents.memory import MemoryKeys, MemoryPieces
from chalicelib.contents.pieces import Pieces
from chalicelib.contents.store import DynamoPieces
from chalicelib.settings import Settings
from tests.sealed.served_kms import Client
from tests.small_deployments import Chance
from tests.stores import Served, StoreName, fresh_tables


@pytest.fixture(params=["memory", "local", "ministack"])
def pieces(request: pytest.FixtureRequest, stores: Served) -> Pieces:
    """No pieces yet, in each implementation that there is."""
    if request.param == "memory":
        return MemoryPieces()
    name: StoreName = request.param
    return DynamoPieces(fresh_tables(stores.url(name)))


@pytest.fixture(scope="module")
def kms() -> Iterator[Client]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Client(f"http://{host}:{port}")
    server.stop()


@pytest.fixture(params=["memory", "kms"])
def service(request: pytest.FixtureRequest, kms: Client, monkeypatch: pytest.MonkeyPatch) -> KeyService:
    """What makes and unwraps data keys, in each implementation that there is."""
    if request.param == "memory":
        return MemoryKeys(Chance())
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", kms.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    return KmsKeys(Settings(content_key=kms.create_key(), store_deadline_ms=10_000))
