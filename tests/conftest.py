"""Fixtures that several rooms share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.stores import Served

pytest_plugins = [
    "tests.certificates",
    "tests.local_system",
    "tests.two_gateways",
    "tests.without_processes",
    "tests.workers",
]

# The same examples every time: a red run can be repeated, and a green one is not luck. A busy machine and a
# store behind HTTP make no example "too slow". CLOISTER_EXPLORE=1 looks for new ones.
settings.register_profile(
    "cloister",
    deadline=None,
    derandomize=not os.environ.get("CLOISTER_EXPLORE"),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("cloister")
# For the time between two commits: `pytest --hypothesis-profile quick`.
settings.register_profile("quick", max_examples=10)


@pytest.fixture(scope="session")
def stores() -> Iterator[Served]:
    """The served DynamoDBs, each started when it is first asked for."""
    served = Served()
    yield served
    served.close()
