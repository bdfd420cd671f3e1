"""Two gateway processes over one served DynamoDB: what one of them changes, the other's next request meets.

The second gateway is warm and is told nothing; it finds out by the write that admits the request.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.tenancy.token import parse
from tests.small_deployments import Gateway
from tests.two_gateways import World


class Tenant:
    """A tenant of a test's own, with a pool of its own."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.pool([world.target("a"), world.target("b")])
        limits = limited(calls=1_000)
        made = world.admin(
            world.left, "POST", "/tenants", {"id": name, "name": name, "pools": [name], "limits": limits}
        )
        assert made.status == 201, made.body
        self.owner = self.key("owner")
        self.user = self.key("developer")

    def key(self, role: str) -> str:
        made = self.world.admin(self.world.left, "POST", f"/tenants/{self.name}/keys", {"role": role})
        text: str = made.json["api_key"]
        return text

    def pool(self, targets: list[dict[str, Any]]) -> None:
        body = {"name": self.name, "targets": targets}
        assert self.world.admin(self.world.left, "PUT", f"/pools/{self.name}", body).status == 200

    def change(self, **members: Any) -> None:
        assert self.world.admin(self.world.left, "PATCH", f"/tenants/{self.name}", members).status == 200

    def manage(self, method: str, path: str, body: object = None) -> None:
        answer = self.world.left.call(method, f"/tenants/{self.name}{path}", key=self.owner, json=body)
        assert answer.status < 300, answer.body

    def ask(self, gateway: Gateway, key: str | None = None) -> str | int:
        """What the model says, or the status of a refusal."""
        body = {"prompt": "hi", "max_tokens": 8}
        headers = {"X-Tenant-ID": self.name, "X-Model-Pool": self.name}
        answer = gateway.call("POST", "/inference", key=key or self.user, json=body, headers=headers)
        return answer.json["text"] if answer.status == 200 else answer.status


def limited(calls: int) -> dict[str, Any]:
    budget = {"name": "calls", "unit": "requests", "limit": calls, "window": "month"}
    return {"rates": [], "budgets": [budget], "in_flight": 8}


def id_of(text: str) -> str:
    token = parse(text)
    assert token is not None
    return token.key_id


CHANGES: dict[str, tuple[Callable[[Tenant], None], str | int]] = {
    "revoke": (lambda tenant: tenant.manage("DELETE", f"/keys/{id_of(tenant.user)}"), 401),
    "rotate": (lambda tenant: tenant.manage("POST", f"/keys/{id_of(tenant.user)}/rotate", {"grace_s": 0}), 401),
    "limit": (lambda tenant: tenant.change(limits=limited(calls=3)), 429),
    "suspend": (lambda tenant: tenant.change(status="suspended"), 403),
    "pin": (lambda tenant: tenant.change(pins={tenant.name: "b"}), "b"),
    "pool": (lambda tenant: tenant.pool([tenant.world.target("c")]), "c"),
    "pool-gone": (lambda tenant: tenant.change(pools=[]), 404),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_other_gateways_very_next_request_meets_the_change(world: World, name: str) -> None:
    change, then = CHANGES[name]
    tenant = Tenant(world, name)
    assert [tenant.ask(world.right), tenant.ask(world.left), tenant.ask(world.right)] == ["a"] * 3
    change(tenant)
    assert tenant.ask(world.right) == then
    assert tenant.ask(world.left) == then


def test_a_key_made_here_works_there_at_once(world: World) -> None:
    tenant = Tenant(world, "made")
    assert tenant.ask(world.right) == "a"
    assert tenant.ask(world.right, tenant.key("developer")) == "a"


def test_a_grace_period_holds_on_both_sides(world: World) -> None:
    tenant = Tenant(world, "grace")
    assert tenant.ask(world.right) == "a"
    tenant.manage("POST", f"/keys/{id_of(tenant.user)}/rotate", {"grace_s": 600})
    assert [tenant.ask(world.right), tenant.ask(world.left)] == ["a", "a"]


def test_a_budget_is_one_for_both(world: World) -> None:
    tenant = Tenant(world, "budget")
    tenant.change(limits=limited(calls=5))
    said = [tenant.ask(gateway) for gateway in (world.left, world.right) * 4]
    assert said == ["a"] * 5 + [429] * 3


def test_only_the_operators_own_key_pair_signs(world: World) -> None:
    assert world.admin(world.right, "GET", "/tenants").status == 200
    wrong: list[dict[str, Any]] = [
        {"secret": "guessed"},
        {"key_id": "AKIAEXAMPLESOMEBODY0"},
        {"region": "us-west-2"},
        {"service": "iam"},
    ]
    for how in wrong:
        assert world.admin(world.right, "GET", "/tenants", **how).status == 403, how


def test_a_client_does_not_become_an_operator_by_a_header(world: World) -> None:
    context = json.dumps({"identity": {"userArn": "arn:aws:iam::123456789012:user/cloister-operator"}})
    answer = world.left.call("GET", "/admin/tenants", headers={"x-amzn-request-context": context})
    assert answer.status == 401


def test_the_gateways_logs_tell_no_secret(world: World) -> None:
    tenant = Tenant(world, "silent")
    assert tenant.ask(world.left) == "a"
    tenant.ask(world.right, tenant.user + "x")
    world.admin(world.left, "GET", "/tenants", secret="guessed")
    logged = world.log.read_text()
    for secret in (world.secret, tenant.owner.split("_", 2)[2], tenant.user.split("_", 2)[2]):
        assert secret not in logged
    assert "Traceback" not in logged
