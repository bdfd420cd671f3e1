"""Operators look at what broke a rule, and take steps, each of which stands in the events."""

from typing import Any

from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.key_text import parse
from tests.api.begun import begun
from tests.small_deployments import Answer, Deployment, Gateway

CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "a secret plan"}]}


class Operator:
    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self.gateway = gateway
        self.deployment = deployment
        self._key = deployment.key(PLATFORM_TENANT)

    def __call__(self, method: str, path: str, body: Any = None) -> Answer:
        return self.gateway.call(method, f"/admin{path}", key=self._key, json=body)

    def take(self, step: str, reason: str = "looked at") -> Answer:
        return self("POST", f"/tenants/acme/reviews/keys-60/{step}", {"reason": reason})

    def chats(self, *keys: str) -> list[int]:
        paths = "/tenants/acme/v1/chat/completions"
        return [self.gateway.call("POST", paths, key=key, json=CHAT).status for key in keys]

    def events(self, tenant: str) -> list[tuple[str, str, str]]:
        found = self("GET", f"/tenants/{tenant}/events").json["events"]
        return [(event["action"], event["object"], event["reason"]) for event in found]


def flagged(gateway: Gateway, deployment: Deployment) -> tuple[Operator, list[str]]:
    operator, keys = Operator(gateway, deployment), [deployment.key(role="developer") for _ in range(3)]
    assert operator("PUT", "/tenants/acme/velocity", {"rules": [{"what": "keys", "most": 1}]}).status == 200
    assert operator.chats(*keys) == [200, 200, 200]
    return operator, keys


def test_a_review_shows_who_and_from_where_and_nothing_that_was_said(gateway: Gateway, deployment: Deployment) -> None:
    operator, keys = flagged(gateway, deployment)
    answer = operator("GET", "/reviews")
    (review,) = answer.json["reviews"]
    token = parse(keys[1])
    assert token is not None
    assert (review["tenant"], review["id"], review["open"]) == ("acme", "keys-60", True)
    assert review["rule"] == {"what": "keys", "most": 1, "per_s": 60, "action": "flag"}
    assert (review["subjects"], review["addresses"]) == ([f"key:{token.key_id}"], ["127.0.0.1"])
    assert b"secret" not in answer.body


def test_a_throttle_refuses_from_the_next_request_on(gateway: Gateway, deployment: Deployment) -> None:
    operator, keys = flagged(gateway, deployment)
    assert operator.take("throttle").status == 200
    assert operator.chats(*keys) == [200, 429, 429]
    refused = gateway.call("POST", "/tenants/acme/v1/chat/completions", key=keys[1], json=CHAT)
    assert refused.json["error"]["limit"] == "keys-per-60-s"
    waited_ms = refused.json["error"]["retry_in_ms"]
    assert 0 < waited_ms <= 60_000
    deployment.clock.now_ms += waited_ms
    assert operator.chats(keys[1]) == [200]


def test_a_suspension_ends_all_of_it_and_a_clearance_lasts_until_the_rule_is_broken_again(
    gateway: Gateway, deployment: Deployment
) -> None:
    operator, keys = flagged(gateway, deployment)
    assert operator.take("suspend").json["open"] is True
    assert operator.chats(*keys) == [403, 403, 403]
    assert operator("PATCH", "/tenants/acme", {"status": "active"}).status == 200
    assert operator.take("clear").json["open"] is False
    deployment.clock.now_ms += 60_000
    assert operator.chats(*keys) == [200, 200, 200]
    (review,) = operator("GET", "/reviews").json["reviews"]
    assert (review["open"], review["windows"]) == (True, 2)
    assert [taken["step"] for taken in review["steps"]] == ["suspend", "clear"]


def test_who_was_taken_down_is_brought_back_by_the_operator_alone_and_without_its_keys_and_sessions(
    gateway: Gateway, deployment: Deployment
) -> None:
    operator, keys = flagged(gateway, deployment)
    owner, (_, cookie) = deployment.key(), begun(deployment)

    def whoami(session: str) -> int:
        said = {"Cookie": f"__Host-cloister-acme={session}"}
        return gateway.call("GET", "/tenants/acme/sessions", headers=said).status

    signed_in = whoami(cookie.text)
    assert operator.take("take_down", "sold on").json["steps"][-1]["step"] == "take_down"
    refused = gateway.call("GET", "/tenants/acme/keys", key=owner)
    assert refused.status == 403
    assert "taken down" in refused.json["detail"] and "ask the operator" in refused.json["detail"]
    assert operator("PATCH", "/tenants/acme", {"status": "suspended"}).status == 409
    assert ("take_step", "keys-60/take_down", "sold on") in operator.events("acme")
    deployment.clock.now_ms += 1
    new = operator("POST", "/tenants/acme/keys", {"role": "owner"}).json["api_key"]
    assert gateway.call("GET", "/tenants/acme/keys", key=new).status == 403
    assert operator("PATCH", "/tenants/acme", {"status": "active"}).status == 200
    assert operator.chats(*keys, owner, new) == [401, 401, 401, 401, 200]
    assert (signed_in, whoami(cookie.text)) == (200, 401)
    listed = gateway.call("GET", "/tenants/acme/keys", key=new).json["keys"]
    states = {each["id"]: each["state"] for each in listed}
    assert sorted(states.values()) == ["active", "revoked", "revoked", "revoked", "revoked"]
    dead = next(each for each, state in states.items() if state == "revoked")
    assert gateway.call("POST", f"/tenants/acme/keys/{dead}/rotate", key=new, json={"grace_s": 60}).status == 409


def test_each_step_stands_in_the_events_of_the_tenant_and_the_platform(
    gateway: Gateway, deployment: Deployment
) -> None:
    operator, _ = flagged(gateway, deployment)
    taken = operator.take("note", "asked the owners").json["steps"]
    assert [(each["step"], each["reason"]) for each in taken] == [("note", "asked the owners")]
    for tenant in ("acme", PLATFORM_TENANT):
        assert ("take_step", "keys-60/note", "asked the owners") in operator.events(tenant)


def test_a_step_that_there_is_not_and_a_review_that_there_is_not_change_nothing(
    gateway: Gateway, deployment: Deployment
) -> None:
    operator, keys = flagged(gateway, deployment)
    assert operator.take("destroy").status == 400
    assert operator("POST", "/tenants/acme/reviews/prompts-60/suspend", {"reason": "why not"}).status == 404
    assert operator("POST", "/tenants/nobody/reviews/keys-60/suspend", {"reason": "why not"}).status == 404
    assert operator("POST", "/tenants/acme/reviews/keys-60/suspend", {"reason": ""}).status == 400
    assert operator.chats(keys[0]) == [200]
