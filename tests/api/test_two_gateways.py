"""Two gateway processes over one served DynamoDB: what one of them changes, the other's next request meets.

The second gateway is warm and is told nothing; it finds out by the write that admits the request.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.tenancy.key_text import parse
from tests.patience import until
from tests.small_deployments import Gateway
from tests.two_gateways import TwoGateways


class Tenant:
    """A tenant of a test's own, with a pool of its own."""

    def __init__(self, two_gateways: TwoGateways, name: str) -> None:
        self.two_gateways = two_gateways
        self.name = name
        self.pool([two_gateways.target("a"), two_gateways.target("b")])
        limits = limited(calls=1_000)
        made = two_gateways.admin(
            two_gateways.left, "POST", "/tenants", {"id": name, "name": name, "pools": [name], "limits": limits}
        )
        assert made.status == 201, made.body
        self.owner = self.key("owner")
        self.user = self.key("developer")

    def key(self, role: str) -> str:
        made = self.two_gateways.admin(self.two_gateways.left, "POST", f"/tenants/{self.name}/keys", {"role": role})
        text: str = made.json["api_key"]
        return text

    def pool(self, targets: list[dict[str, Any]]) -> None:
        body = {"name": self.name, "targets": targets}
        assert self.two_gateways.admin(self.two_gateways.left, "PUT", f"/pools/{self.name}", body).status == 200

    def change(self, **members: Any) -> None:
        assert self.two_gateways.admin(self.two_gateways.left, "PATCH", f"/tenants/{self.name}", members).status == 200

    def manage(self, method: str, path: str, body: object = None) -> None:
        answer = self.two_gateways.left.call(method, f"/tenants/{self.name}{path}", key=self.owner, json=body)
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
    "pool": (lambda tenant: tenant.pool([tenant.two_gateways.target("c")]), "c"),
    "pool-gone": (lambda tenant: tenant.change(pools=[]), 404),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_other_gateways_very_next_request_meets_the_change(two_gateways: TwoGateways, name: str) -> None:
    change, then = CHANGES[name]
    tenant = Tenant(two_gateways, name)
    assert [tenant.ask(two_gateways.right), tenant.ask(two_gateways.left), tenant.ask(two_gateways.right)] == ["a"] * 3
    change(tenant)
    assert tenant.ask(two_gateways.right) == then
    assert tenant.ask(two_gateways.left) == then


def test_a_key_made_here_works_there_at_once(two_gateways: TwoGateways) -> None:
    tenant = Tenant(two_gateways, "made")
    assert tenant.ask(two_gateways.right) == "a"
    assert tenant.ask(two_gateways.right, tenant.key("developer")) == "a"


def test_a_grace_period_holds_on_both_sides(two_gateways: TwoGateways) -> None:
    tenant = Tenant(two_gateways, "grace")
    assert tenant.ask(two_gateways.right) == "a"
    tenant.manage("POST", f"/keys/{id_of(tenant.user)}/rotate", {"grace_s": 600})
    assert [tenant.ask(two_gateways.right), tenant.ask(two_gateways.left)] == ["a", "a"]


def test_a_budget_is_one_for_both(two_gateways: TwoGateways) -> None:
    tenant = Tenant(two_gateways, "budget")
    tenant.change(limits=limited(calls=5))
    said = [tenant.ask(gateway) for gateway in (two_gateways.left, two_gateways.right) * 4]
    assert said == ["a"] * 5 + [429] * 3


def test_any_gateway_tells_why_a_target_failed_at_another(two_gateways: TwoGateways) -> None:
    tenant = Tenant(two_gateways, "fail")
    tenant.pool([{"name": "gone", "engine": "openai_compatible", "url": "http://127.0.0.1:9/v1"}])
    assert [tenant.ask(two_gateways.left) for _ in range(3)] == [503, 503, 503]

    def seen() -> dict[str, Any]:
        [target] = two_gateways.admin(two_gateways.right, "GET", "/pools/fail").json["targets"]
        found: dict[str, Any] = target
        return found

    target = until(seen, lambda target: target["breaker"] != "closed")
    assert target["healthy"] is False
    failure = target["last_failure"]
    assert (failure["cause"], failure["symptom"]) == ("The model could not be reached.", "ECONNREFUSED")
    told = [json.loads(line) for line in two_gateways.log.read_text().splitlines() if '"pool":"fail"' in line]
    assert [line["symptom"] for line in told if "BreakerOpened" in line] == ["ECONNREFUSED"]
    assert {line["symptom"] for line in told if "NoTarget" in line} == {"ECONNREFUSED"}


def test_only_the_operators_own_key_pair_signs(two_gateways: TwoGateways) -> None:
    assert two_gateways.admin(two_gateways.right, "GET", "/tenants").status == 200
    wrong: list[dict[str, Any]] = [
        {"secret": "guessed"},
        {"key_id": "AKIAEXAMPLESOMEBODY0"},
        {"region": "us-west-2"},
        {"service": "iam"},
    ]
    for how in wrong:
        assert two_gateways.admin(two_gateways.right, "GET", "/tenants", **how).status == 403, how


def test_a_client_does_not_become_an_operator_by_a_header(two_gateways: TwoGateways) -> None:
    context = json.dumps({"identity": {"userArn": "arn:aws:iam::123456789012:user/cloister-operator"}})
    answer = two_gateways.left.call("GET", "/admin/tenants", headers={"x-amzn-request-context": context})
    assert answer.status == 401


def test_the_gateways_logs_tell_no_secret(two_gateways: TwoGateways) -> None:
    tenant = Tenant(two_gateways, "silent")
    assert tenant.ask(two_gateways.left) == "a"
    tenant.ask(two_gateways.right, tenant.user + "x")
    two_gateways.admin(two_gateways.left, "GET", "/tenants", secret="guessed")
    logged = two_gateways.log.read_text()
    for secret in (two_gateways.secret, tenant.owner.split("_", 2)[2], tenant.user.split("_", 2)[2]):
        assert secret not in logged
    assert "Traceback" not in logged
