import pytest

from tests.admission.backing import BACKINGS, Backing, BackingName, open_backing
from tests.stores import STORES, Served, StoreName


@pytest.fixture(params=BACKINGS)
def backing(request: pytest.FixtureRequest, stores: Served) -> Backing:
    """Empty meters and an empty ledger, in each implementation that there is."""
    name: BackingName = request.param
    return open_backing(name, stores)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> StoreName:
    """Each served DynamoDB."""
    name: StoreName = request.param
    return name
