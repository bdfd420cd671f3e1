from collections.abc import Iterable, Iterator

import pytest

from chalicelib import wiring
from chalicelib.call import Call
from chalicelib.engines.scripted import Step, whole
from chalicelib.pool import Pool, Scripted, Target
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.tenant import Tenant
from tests.api.bedrock_script import Caller, ScriptedBedrock
from tests.api.signing import IAM
from tests.small_deployments import Deployment, Gateway, front, served


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    """The app under uvicorn, as the local system serves it. It opens into the `deployment` of each test."""
    with served(front(IAM), kept=True) as gateway:
        yield gateway


@pytest.fixture(scope="module", autouse=True)
def plainly(no_authorities: None) -> None:
    """Clients of HTTP speak it plainly here, or trust one certificate that they are given."""


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    """In memory: the platform's tenant, `acme`, `bolt`, and the pool `model-a` on the targets a and b."""
    deployment = Deployment()
    targets = (Scripted("a", url="a"), Scripted("b", url="b", weight=0))
    deployment.tenancy.put_pool(Pool("model-a", targets, ("chat.completions", "completions", "embeddings", "invoke")))
    deployment.tenancy.create_tenant(Tenant(id=PLATFORM_TENANT, name="The operator"))
    deployment.tenant("acme")
    deployment.tenant("bolt")
    with wiring.opening_into(deployment.rooms()):
        yield deployment


@pytest.fixture
def bedrock_caller(gateway: Gateway) -> Iterator[Caller]:
    """Of Bedrock's runtime API, whose engine is scripted."""
    bedrock = ScriptedBedrock()
    with wiring.opening_into(bedrock.deployment.rooms()):
        yield Caller(gateway, bedrock)


@pytest.fixture
def calls() -> list[Call]:
    """What the engine of `key` was asked."""
    return []


@pytest.fixture
def key(calls: list[Call]) -> Iterator[str]:
    """Of `acme`, whose only pool answers everything alike."""

    def note(_target: Target, call: Call) -> Iterable[Step]:
        calls.append(call)
        return whole("fine")

    deployment = Deployment(script=note)
    deployment.pool()
    deployment.tenant()
    with wiring.opening_into(deployment.rooms()):
        yield deployment.key()
