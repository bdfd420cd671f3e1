import pytest

from chalicelib.tenancy.documents import Documents
from chalicelib.tenancy.memory import MemoryDocuments
from chalicelib.tenancy.store import DynamoDocuments
from tests.houses import Deployment, Store, dynamodb, memory
from tests.stores import Served, StoreName, fresh_tables

IMPLEMENTATIONS = ["memory", "local", "ministack"]


@pytest.fixture(params=IMPLEMENTATIONS)
def documents(request: pytest.FixtureRequest, stores: Served) -> Documents:
    """No documents yet, in each implementation that there is."""
    if request.param == "memory":
        return MemoryDocuments()
    name: StoreName = request.param
    return DynamoDocuments(fresh_tables(stores.url(name)))


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, stores: Served) -> Store:
    """An empty store, in memory and in a served DynamoDB."""
    return memory() if request.param == "memory" else dynamodb(fresh_tables(stores.url("local")))


@pytest.fixture
def deployment() -> Deployment:
    """In memory: the tenant `acme`, and the pool `model-a` on the targets a and b."""
    deployment = Deployment()
    deployment.pool("model-a", "a", "b")
    deployment.tenant("acme")
    return deployment
