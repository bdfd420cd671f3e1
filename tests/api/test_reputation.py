"""Operators deny and watch networks at every door, and see one address that calls many tenants."""

from typing import Any

import pytest

import app  # noqa: F401  # fills ROUTES
from chalicelib.http.route_table import ROUTES
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.velocity.reputation import HEARD_MS
from tests.api.paths import filled
from tests.examples import every
from tests.small_deployments import Answer, Deployment, Gateway

CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}]}
HERE = "127.0.0.0/8"


class Operator:
    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        self.key = deployment.key(PLATFORM_TENANT)

    def __call__(self, method: str, path: str, body: Any = None) -> Answer:
        return self.gateway.call(method, f"/admin{path}", key=self.key, json=body)

    def lists(self, network: str, **more: Any) -> Answer:
        entry = {"network": network, "reason": "tries keys", **more}
        answer = self("PUT", "/reputation", {"entries": [entry], "without_me": True})
        self.deployment.clock.now_ms += HEARD_MS
        return answer

    def reviews(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("GET", "/reviews").json["reviews"]
        return found

    def chat(self, tenant: str) -> Answer:
        key = self.deployment.key(tenant, "developer")
        return self.gateway.call("POST", f"/tenants/{tenant}/v1/chat/completions", key=key, json=CHAT)


@pytest.fixture
def operator(gateway: Gateway, deployment: Deployment) -> Operator:
    return Operator(gateway, deployment)


def test_who_is_denied_meets_one_refusal_at_every_door_whatever_they_bring(operator: Operator) -> None:
    assert operator.lists(HERE).status == 200
    said = set()
    for route in every([route for route in ROUTES if not (route.about_us or route.auth == "signed")]):
        path = filled(route.path)
        for key in (operator.key, "ck_acme.wrong", None):
            answer = operator.gateway.call(route.method, path, key=key)
            assert answer.status == 403, (route.method, path, answer.status, answer.body)
            said.add(b"not taken here" in answer.body)
    assert said == {True}
    assert operator.gateway.call("GET", "/live").status == 200


def test_an_entry_counts_until_it_expires_and_no_longer_than_it_stands(operator: Operator) -> None:
    now_ms = operator.deployment.clock.now_ms
    assert operator.lists(HERE, expires_ms=now_ms + 2 * HEARD_MS).status == 200
    assert operator.chat("acme").status == 403
    operator.deployment.clock.now_ms += HEARD_MS
    assert operator.chat("acme").status == 200


def test_a_list_that_would_lock_its_operator_out_is_refused(operator: Operator) -> None:
    entries = {"entries": [{"network": HERE, "reason": "a slip"}]}
    refused = operator("PUT", "/reputation", entries)
    assert (refused.status, refused.json["field"]) == (400, "entries")
    assert operator("GET", "/reputation").json == {"entries": [], "version": 0}


def test_who_calls_from_a_watched_network_is_let_in_and_told_of(operator: Operator) -> None:
    assert operator.lists(HERE, list="watch").status == 200
    assert [operator.chat(tenant).status for tenant in ("acme", "acme", "bolt")] == [200, 200, 200]
    assert sorted((review["tenant"], review["id"], review["windows"]) for review in operator.reviews()) == [
        ("acme", "watched", 1),
        ("bolt", "watched", 1),
    ]
    throttle = operator("POST", "/tenants/acme/reviews/watched/throttle", {"reason": "no"})
    assert (throttle.status, "deny list" in throttle.json["detail"]) == (409, True)


def test_one_address_over_many_tenants_is_flagged_and_throttled(operator: Operator) -> None:
    operator.deployment.tenant("cora")
    rules = {"rules": [{"what": "tenants", "most": 2, "per_s": 3600}]}
    assert operator("PUT", "/velocity", rules).status == 200
    operator.deployment.clock.now_ms += HEARD_MS
    assert [operator.chat(tenant).status for tenant in ("acme", "bolt", "acme")] == [200, 200, 200]
    assert operator.reviews() == []
    assert operator.chat("cora").status == 200
    (review,) = operator.reviews()
    assert (review["tenant"], review["id"], review["addresses"]) == (PLATFORM_TENANT, "tenants-3600", ["127.0.0.1"])
    assert [subject.split()[0] for subject in review["subjects"]] == ["cora"]
    path = f"/tenants/{PLATFORM_TENANT}/reviews/tenants-3600"
    assert operator("POST", f"{path}/throttle", {"reason": "stolen keys"}).status == 200
    assert operator("POST", f"{path}/suspend", {"reason": "no"}).status == 409
    operator.deployment.clock.now_ms += HEARD_MS
    refused = operator.chat("cora")
    assert (refused.status, refused.json["error"]["limit"]) == (429, "tenants-per-3600-s")
    assert operator.chat("acme").status == 200


def test_rules_that_do_not_fit_the_place_are_refused(operator: Operator) -> None:
    assert operator("PUT", "/velocity", {"rules": [{"what": "keys", "most": 2}]}).status == 400
    assert operator("PUT", "/tenants/acme/velocity", {"rules": [{"what": "tenants", "most": 2}]}).status == 400
    assert operator("PUT", "/velocity", {"rules": [{"what": "tenants", "most": 2}] * 2}).status == 400
