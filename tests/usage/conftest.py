import pytest

from chalicelib.usage.memory import MemoryRollups
from chalicelib.usage.store import DynamoRollups
from tests.stores import Served, StoreName, fresh_tables


@pytest.fixture(params=["memory", "local", "ministack"])
def rollups(request: pytest.FixtureRequest, stores: Served) -> MemoryRollups | DynamoRollups:
    """No roll-ups, in each implementation that there is."""
    if request.param == "memory":
        return MemoryRollups()
    name: StoreName = request.param
    return DynamoRollups(fresh_tables(stores.url(name)))
