import pytest

from chalicelib.ledger.memory import MemoryLedger
from chalicelib.ledger.store import DynamoLedger
from tests.stores import Served, StoreName, fresh_tables


@pytest.fixture(params=["memory", "local", "ministack"])
def ledger(request: pytest.FixtureRequest, stores: Served) -> MemoryLedger | DynamoLedger:
    """An empty ledger, in each implementation that there is."""
    if request.param == "memory":
        return MemoryLedger()
    name: StoreName = request.param
    return DynamoLedger(fresh_tables(stores.url(name)))
