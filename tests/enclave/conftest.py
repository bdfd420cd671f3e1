"""One local KMS for the whole room, and an enclave on it for the tests that need nothing special."""

from collections.abc import Iterator

import pytest

from tests.enclave.houses import REGION, Kms, TestedEnclave, enclave, kms_process


@pytest.fixture(scope="session")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kms]:
    with kms_process(tmp_path_factory.mktemp("kms")) as running, pytest.MonkeyPatch.context() as environment:
        for name, value in running.credentials.items():
            environment.setenv(name, value)
        environment.setenv("AWS_DEFAULT_REGION", REGION)
        yield running


@pytest.fixture(scope="session")
def house(kms: Kms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestedEnclave]:
    with enclave(kms, tmp_path_factory.mktemp("enclave")) as running:
        yield running
