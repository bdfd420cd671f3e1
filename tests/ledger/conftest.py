from collections.abc import Iterator

import pytest

from chalicelib.ledger import DynamoLedger, MemoryLedger
from tests.stores import Served, StoreName, fresh_tables


@pytest.fixture(scope="session")
def stores() -> Iterator[Served]:
    """The served DynamoDBs, started when first asked for."""
    served = Served()
    yield served
    served.close()


@pytest.fixture(params=["memory", "local", "ministack"])
def ledger(request: pytest.FixtureRequest, stores: Served) -> MemoryLedger | DynamoLedger:
    """An empty ledger, in each implementation that there is."""
    if request.param == "memory":
        return MemoryLedger()
    name: StoreName = request.param
    return DynamoLedger(fresh_tables(stores.url(name)))
