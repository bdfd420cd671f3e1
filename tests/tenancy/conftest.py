import pytest

from tests.documents.conftest import documents
from tests.small_deployments import Deployment, Store, dynamodb, memory
from tests.stores import Served, fresh_tables

__all__ = ["documents"]


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
