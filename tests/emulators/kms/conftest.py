from collections.abc import Iterator

import pytest

from tests.emulators.kms.served import Served, served


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Shared: every test makes its own keys and callers."""
    with served(tmp_path_factory.mktemp("kms")) as running:
        running.root.write_bytes(running.authority.root_pem())
        yield running
