"""Owners set rules of velocity of their own, under the operator's, for the tenant and for single keys."""

from typing import Any

from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.key_text import parse
from tests.small_deployments import Deployment, Gateway


class Owner:
    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        self._key = deployment.key(role="owner")
        self._operator = deployment.key(PLATFORM_TENANT)

    def put(self, rules: list[Any], **keys: list[Any]) -> int:
        body = {"rules": rules, "keys": keys}
        return self.gateway.call("PUT", "/tenants/acme/velocity", key=self._key, json=body).status

    def shown(self) -> Any:
        answer = self.gateway.call("GET", "/tenants/acme/velocity", key=self._key)
        assert answer.status == 200
        return answer.json

    def operators(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.gateway.call(method, f"/admin{path}", key=self._operator, json=body)
        assert answer.status == 200
        return answer.json

    def chats(self, key: str, *prompts: str) -> list[int]:
        def chat(prompt: str) -> int:
            asked = {"model": "model-a", "messages": [{"role": "user", "content": prompt}]}
            return self.gateway.call("POST", "/tenants/acme/v1/chat/completions", key=key, json=asked).status

        return [chat(prompt) for prompt in prompts]


def id_of(key: str) -> str:
    token = parse(key)
    assert token is not None
    return token.key_id


def throttle(most: int, what: str = "prompts", per_s: int = 60) -> dict[str, Any]:
    return {"what": what, "most": most, "per_s": per_s, "action": "throttle"}


def test_a_keys_rule_throttles_that_key_alone_and_tells_the_owners_alone(
    gateway: Gateway, deployment: Deployment
) -> None:
    owner, narrow, wide = Owner(gateway, deployment), deployment.key(), deployment.key()
    assert owner.put([], **{id_of(narrow): [throttle(2)]}) == 200
    assert owner.chats(narrow, "a", "b", "c", "a") == [200, 200, 429, 200]
    assert owner.chats(wide, "a", "b", "c", "d") == [200] * 4
    (broken,) = owner.shown()["broken"]
    assert (broken["id"], broken["subjects"]) == (f"{id_of(narrow)}-prompts-60", [f"key:{id_of(narrow)}"])
    assert owner.operators("GET", "/reviews")["reviews"] == []


def test_the_strictest_of_the_owners_and_the_operators_rules_wins(gateway: Gateway, deployment: Deployment) -> None:
    owner, key = Owner(gateway, deployment), deployment.key()
    owner.operators("PUT", "/tenants/acme/velocity", {"rules": [throttle(2)]})
    assert owner.put([throttle(50)]) == 200
    assert owner.chats(key, "a", "b", "c") == [200, 200, 429]
    assert owner.shown()["operators"] == [throttle(2)]
    deployment.clock.now_ms += 60_000
    assert owner.put([throttle(1)]) == 200
    assert owner.chats(key, "a", "b") == [200, 429]
    assert [review["id"] for review in owner.shown()["broken"]] == ["prompts-60"]
    assert owner.operators("GET", "/reviews")["reviews"][0]["windows"] == 1


def test_rules_that_are_gone_refuse_nobody_and_are_forgotten(gateway: Gateway, deployment: Deployment) -> None:
    owner, key = Owner(gateway, deployment), deployment.key()
    assert owner.put([throttle(1)], **{id_of(key): [throttle(9)]}) == 200
    assert owner.chats(key, "a", "b") == [200, 429]
    assert owner.put([]) == 200
    assert owner.chats(key, "b", "c") == [200, 200]
    shown = owner.shown()
    assert (shown["rules"], shown["keys"], shown["broken"]) == ([], {}, [])


def test_what_cannot_be_set_is_refused(gateway: Gateway, deployment: Deployment) -> None:
    owner, key, stranger = Owner(gateway, deployment), deployment.key(), deployment.key(PLATFORM_TENANT)
    assert owner.put([throttle(1), throttle(2)]) == 400
    assert owner.put([], **{id_of(key): [throttle(1, "keys")]}) == 400
    assert owner.put([], **{id_of(stranger): [throttle(1)]}) == 400
    assert owner.shown()["keys"] == {}


def test_a_key_that_takes_anothers_place_has_its_rules(gateway: Gateway, deployment: Deployment) -> None:
    owner, key = Owner(gateway, deployment), deployment.key()
    assert owner.put([], **{id_of(key): [throttle(1)]}) == 200
    rotated = gateway.call("POST", f"/tenants/acme/keys/{id_of(key)}/rotate", key=deployment.key(), json={})
    assert rotated.status == 201
    new = rotated.json["api_key"]
    assert owner.chats(new, "a", "b") == [200, 429]
    shown = owner.shown()["keys"]
    assert shown[id_of(new)] == shown[id_of(key)]


def test_a_narrowed_key_does_not_get_rid_of_its_rules_by_making_others(
    gateway: Gateway, deployment: Deployment
) -> None:
    owner, key = Owner(gateway, deployment), deployment.key(pools=("model-a",))
    assert owner.put([], **{id_of(key): [throttle(1)]}) == 200
    made = gateway.call(
        "POST", "/tenants/acme/keys", key=key, json={"role": "developer", "scopes": {"pools": ["model-a"]}}
    )
    rotated = gateway.call("POST", f"/tenants/acme/keys/{id_of(key)}/rotate", key=key, json={})
    assert (made.status, rotated.status) == (403, 403)
    assert "rules of velocity" in made.json["detail"]
