import pytest

from chalicelib.documents import Documents
from chalicelib.documents.memory import MemoryDocuments
from chalicelib.documents.store import DynamoDocuments
from tests.stores import Served, StoreName, fresh_tables

IMPLEMENTATIONS = ["memory", "local", "ministack"]


@pytest.fixture(params=IMPLEMENTATIONS)
def documents(request: pytest.FixtureRequest, stores: Served) -> Documents:
    """No documents yet, in each implementation that there is."""
    if request.param == "memory":
        return MemoryDocuments()
    name: StoreName = request.param
    return DynamoDocuments(fresh_tables(stores.url(name)))
