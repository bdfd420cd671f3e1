"""A KMS for the whole room, and a fresh gateway for each test."""

from collections.abc import Iterator

import pytest

from tests.client.callers import Place
from tests.client.gateways import Gateway, serving
from tests.emulators.kms.served import Served, served


@pytest.fixture(scope="session")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("kms")) as service:
        yield service


@pytest.fixture(scope="session")
def key_arn(kms: Served) -> str:
    return kms.key()


@pytest.fixture
def place(kms: Served, key_arn: str) -> Iterator[Place]:
    gateway = Gateway(kms.kms)
    with serving(gateway) as url:
        yield Place(gateway, url, key_arn)
