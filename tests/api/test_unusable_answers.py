"""What an engine says may be JSON and still be of no use to a route: that is our failure, and costs nothing."""

from collections.abc import Iterable, Iterator

import pytest

from chalicelib import wiring
from chalicelib.call import Call, Delta, Finished, Started, Usage
from chalicelib.engines.scripted import Step
from chalicelib.ledger import Units
from chalicelib.pool import Target
from tests.small_deployments import T0, Deployment, Gateway

STRANGE = b'{"choices":[{"message":{"content":7},"delta":{"content":7}}]}'


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    def strange(_target: Target, _call: Call) -> Iterable[Step]:
        return (Started("i-1"), Delta(STRANGE, 1), Finished(Usage(1, 1)))

    deployment = Deployment(script=strange)
    deployment.pool()
    deployment.tenant()
    with wiring.opening_into(deployment.rooms()):
        yield deployment


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_cannot_be_translated_has_failed(gateway: Gateway, deployment: Deployment, stream: bool) -> None:
    body = {"model": "model-a", "prompt": "hi", "stream": stream}
    answer = gateway.call("POST", "/inference", key=deployment.key(), json=body)
    assert b"/problems/engine-failed" in answer.body
    (entry,) = deployment.store.ledger.page("acme", 0, T0 * 2, None, 9).entries
    assert (entry.outcome, entry.reason, entry.charged) == ("failed", "EngineFailed", Units())
    assert deployment.engine.running == 0
