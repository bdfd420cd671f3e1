from collections.abc import Iterator

import pytest

from tests.emulators.bedrock.served import Served, served


@pytest.fixture(scope="session")
def _shared() -> Iterator[Served]:
    with served() as running:
        yield running


@pytest.fixture
def bedrock(_shared: Served) -> Served:
    """Shared, and reset for each test."""
    _shared.command("reset")
    return _shared
