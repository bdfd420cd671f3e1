"""Money fails closed: a store that does not answer is a 503 that says when to come back, on every surface."""

import pytest

from chalicelib import wiring
from chalicelib.refusal import StoreUnavailable
from chalicelib.tenancy import Tenancy
from chalicelib.tenancy.key_text import mint, parse
from tests.small_deployments import Deployment, Gateway, dynamodb
from tests.stores import reach_tables, with_credentials

KEY = mint("acme", bytes(37)).text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/tenants/acme/keys", None),
        ("POST", "/tenants/acme/keys", {"role": "viewer"}),
        ("GET", "/admin/tenants", None),
        ("GET", "/tenants/acme/v1/models", None),
        ("POST", "/inference", {"model": "model-a", "prompt": "hi"}),
        ("OPTIONS", "/tenants/acme/v1/models", None),
    ],
)
def test_a_dead_store_lets_nobody_in_and_says_when_to_come_back(
    gateway: Gateway, method: str, path: str, body: object
) -> None:
    """Also a web page, of which nobody can say then whether it may read that."""
    with_credentials()
    dead = Deployment(dynamodb(reach_tables("http://127.0.0.1:9", "dead", deadline_ms=100)))
    with wiring.opening_into(dead.rooms()):
        answer = gateway.call(method, path, key=KEY, json=body, headers={"Origin": "https://app.example.com"})
    assert answer.status == 503, answer.body
    assert answer.headers["retry-after"] == "1"
    assert "access-control-allow-origin" not in answer.headers
    assert KEY.rpartition("_")[2] not in answer.body.decode()


class DumbEpochs:
    """Epochs that can be read, and cannot be moved."""

    def __init__(self, deployment: Deployment) -> None:
        self.open = deployment.store.meters.open
        self.read = deployment.store.meters.read

    def bump(self, tenant: str) -> int:
        raise StoreUnavailable("planned")


def test_a_revocation_that_died_half_way_says_so_and_is_completed_by_repeating_it(
    gateway: Gateway, deployment: Deployment
) -> None:
    owner, victim = deployment.key(), deployment.key()
    token = parse(victim)
    assert token is not None
    dying = Tenancy(deployment.store.documents, DumbEpochs(deployment), deployment.clock, deployment.chance)
    path = deployment.path()
    body = {"model": "model-a", "prompt": "hi", "max_tokens": 8}
    with wiring.opening_into(deployment.rooms(path, dying)):
        assert gateway.call("POST", "/inference", key=victim, json=body).status == 200
        answer = gateway.call("DELETE", f"/tenants/acme/keys/{token.key_id}", key=owner)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert gateway.call("POST", "/inference", key=victim, json=body).status == 200, "it was told of no success"
    with wiring.opening_into(deployment.rooms(path)):
        assert gateway.call("DELETE", f"/tenants/acme/keys/{token.key_id}", key=owner).status == 200
        assert gateway.call("POST", "/inference", key=victim, json=body).status == 401
