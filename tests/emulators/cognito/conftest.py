from collections.abc import Iterator

import pytest

from tests.emulators.cognito.served import Served, UserPool, served


@pytest.fixture(scope="session")
def _served() -> Iterator[Served]:
    with served() as running:
        yield running


@pytest.fixture
def pool(_served: Served) -> UserPool:
    """This test's own, at a Cognito that nothing was commanded."""
    _served.command("reset")
    return UserPool(_served)
