from collections.abc import Iterator

import pytest

from tests.engines.bedrocks import LocalBedrock, served
from tests.engines.harnesses import HARNESSES, Harness
from tests.stores import with_credentials


@pytest.fixture(scope="session")
def _served_bedrock() -> Iterator[LocalBedrock]:
    with_credentials()  # before any test puts others in their place: a store that starts then would lose its own
    with served() as bedrock:
        yield bedrock


@pytest.fixture
def bedrock(_served_bedrock: LocalBedrock, monkeypatch: pytest.MonkeyPatch) -> LocalBedrock:
    """As at its start, and where botocore looks for Bedrock; the gateway's own role is one that it lets in."""
    _served_bedrock.do("reset")
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", _served_bedrock.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", _served_bedrock.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", _served_bedrock.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", _served_bedrock.secret_access_key)
    return _served_bedrock


@pytest.fixture(scope="module", params=HARNESSES)
def _standing(request: pytest.FixtureRequest) -> Iterator[Harness]:
    harness = HARNESSES[request.param]()
    yield harness
    harness.close()


@pytest.fixture
def there(_standing: Harness) -> Harness:
    """A target that answers, and has not been asked anything."""
    _standing.reset()
    return _standing
