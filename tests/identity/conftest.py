from collections.abc import Iterator

import pytest

from tests.issuer import Issuer, Verifier, issuing


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as issuer:
        yield issuer


@pytest.fixture
def verify(issuer: Issuer) -> Verifier:
    return Verifier(issuer)
