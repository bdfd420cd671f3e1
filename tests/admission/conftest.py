import os

import pytest
from hypothesis import HealthCheck, settings

from tests.admission.backing import BACKINGS, Backing, BackingName, open_backing
from tests.stores import STORES, Served, StoreName

# The same examples on every machine: a failure here is a failure there. Store calls make no example "too slow".
settings.register_profile(
    "cloister",
    deadline=None,
    derandomize=not os.environ.get("CLOISTER_EXPLORE"),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("cloister")


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
