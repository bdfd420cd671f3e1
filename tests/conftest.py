"""Fixtures that several rooms share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.stores import Served

pytest_plugins = ["tests.local_system"]

# The same examples every time: a red run can be repeated, and a green one is not luck.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def stores() -> Iterator[Served]:
    """The served DynamoDBs, each started when it is first asked for."""
    served = Served()
    yield served
    served.close()
