"""What owners do at the doors with the people of their tenant, and whose the keys are that people make."""

from typing import Any

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.tenancy import PLATFORM_TENANT
from tests.small_deployments import T0, Answer, Deployment, Gateway

ISSUER = "https://login.example.com"
CHATTER = {"base": "owner", "scopes": {"pools": ["model-a"], "surfaces": ["management", "openai"]}}
CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}]}


class House:
    """`acme`, whose owner Ada has joined; Ada asks by a key of hers."""

    def __init__(self, gateway: Gateway, deployment: Deployment) -> None:
        self._gateway = gateway
        self.deployment = deployment
        self.people = deployment.tenancy.people
        self.joined("ada", "owner")
        self.key = deployment.key(member="ada")

    def joined(self, name: str, role: str) -> None:
        self.people.put("acme", name, role)
        self.people.join(ISSUER, name, None, of_tenant=None)

    def __call__(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Answer:
        return self._gateway.call(method, f"/tenants/acme{path}", key=key or self.key, json=body)

    def makes(self, key: str | None = None, **asked: Any) -> Any:
        answer = self("POST", "/keys", {"role": "owner", **asked}, key=key)
        assert answer.status == 201, answer.body
        return answer.json

    def opens(self, made: Any) -> bool:
        return self("GET", "/v1/models", key=made["api_key"]).status == 200


@pytest.fixture
def house(gateway: Gateway, deployment: Deployment) -> Any:
    with wiring.opening_into(deployment.rooms()):
        yield House(gateway, deployment)


def test_somebody_is_invited_until_they_have_joined(house: House) -> None:
    assert house("PUT", "/members/bob@example.com", {"role": "viewer"}).json == {
        "subject": "bob@example.com",
        "role": "viewer",
        "state": "invited",
        "added_ms": T0,
    }
    house.people.join(ISSUER, "1", "bob@example.com", of_tenant=None)
    members = {member["subject"]: member for member in house("GET", "/members").json["members"]}
    assert members["bob@example.com"]["state"] == "active"
    assert members["bob@example.com"]["joined_ms"] == T0
    assert ISSUER.encode() not in house("GET", "/members").body


def test_a_role_that_there_is_not_is_told_with_those_there_are(house: House) -> None:
    answer = house("PUT", "/members/bob", {"role": "chatter"})
    assert (answer.status, answer.json["field"]) == (400, "role")
    assert "owner, developer, analyst, viewer" in answer.json["detail"]


# whose keys are whose


def test_what_a_member_makes_is_theirs_and_what_their_key_makes_too(house: House) -> None:
    first = house.makes()
    second = house.makes(first["api_key"], role="viewer")
    assert [made["key"]["member"] for made in (first, second)] == ["ada", "ada"]
    rotated = house("POST", f"/keys/{second['key']['id']}/rotate", {"grace_s": 0}).json
    assert rotated["key"]["member"] == "ada"
    assert house("DELETE", f"/keys/{second['key']['id']}").json["member"] == "ada"


def test_what_a_member_makes_for_a_service_stays_when_they_go(house: House) -> None:
    house.joined("bob", "owner")
    theirs, service = house.makes(), house.makes(service=True)
    assert "member" not in service["key"]
    bob = house.deployment.key(member="bob")
    assert house("DELETE", "/members/ada", key=bob).status == 204
    assert (house.opens(theirs), house.opens(service)) == (False, True)
    states = {key["id"]: key["state"] for key in house("GET", "/keys", key=bob).json["keys"]}
    assert (states[theirs["key"]["id"]], states[service["key"]["id"]]) == ("revoked", "active")


def test_what_a_services_key_makes_is_nobodys(house: House) -> None:
    assert "member" not in house.makes(house.deployment.key())["key"]


def test_a_member_of_the_operators_tenant_is_nobody_in_another(house: House) -> None:
    house.people.put(PLATFORM_TENANT, "ada", "owner")
    operator = house.deployment.key(PLATFORM_TENANT, member="ada")
    made = [
        house._gateway.call("POST", f"/admin/tenants/{tenant}/keys", key=operator, json={"role": "owner"}).json["key"]
        for tenant in ("acme", PLATFORM_TENANT)
    ]
    assert [key.get("member") for key in made] == [None, "ada"]


def test_an_owner_who_steps_down_makes_no_keys_with_the_key_they_have(house: House) -> None:
    house.joined("bob", "owner")
    house.people.put("acme", "ada", "analyst")
    assert house("POST", "/keys", {"role": "viewer"}).status == 403
    assert house("GET", "/usage").status == 200


# the tenant's own roles


def test_a_role_of_the_tenants_own_narrows_whoever_holds_it_and_what_they_make(house: House) -> None:
    house.deployment.pool("model-b")
    assert house("PUT", "/roles", {"roles": {"chatter": CHATTER}}).json == house("GET", "/roles").json
    house.joined("bob", "chatter")
    bob = house.deployment.key(member="bob")
    assert house("POST", "/v1/chat/completions", CHAT, key=bob).status == 200
    assert house("POST", "/v1/messages", {**CHAT, "max_tokens": 8}, key=bob).status == 403
    assert house("PUT", "/members/eve", {"role": "owner"}, key=bob).status == 403, "they are narrowed"
    assert house("POST", "/keys", {"role": "owner"}, key=bob).status == 403, "it would be wider"
    made = house.makes(bob, scopes=CHATTER["scopes"])
    house("PUT", "/roles", {"roles": {"chatter": {"base": "viewer"}}})
    assert house("POST", "/v1/chat/completions", CHAT, key=made["api_key"]).status == 403


def test_a_key_and_a_role_with_nothing_in_common_may_nothing(house: House) -> None:
    house("PUT", "/roles", {"roles": {"chatter": CHATTER}})
    house.joined("bob", "chatter")
    disjoint: list[Any] = [{"surfaces": ("native",)}, {"pools": ("model-b",), "surfaces": ("openai",)}]
    for scopes in disjoint:
        key = house.deployment.key(member="bob", **scopes)
        assert house("POST", "/v1/chat/completions", CHAT, key=key).status in (403, 404)
        assert house("GET", "/v1/models", key=key).json.get("data", []) == []


@pytest.mark.parametrize(
    ("roles", "field"),
    [
        ({"owner": {"base": "viewer"}}, "roles.owner"),
        ({"chatter": {"base": "viewer", "scopes": {"pools": ["nobodys"]}}}, "roles.chatter.scopes.pools[0]"),
        ({"Chatter": {"base": "viewer"}}, None),
        ({"chatter": {"base": "god"}}, None),
        ({f"r{number}": {"base": "viewer"} for number in range(51)}, None),
    ],
)
def test_what_can_be_no_role_is_refused(house: House, roles: Any, field: str | None) -> None:
    answer = house("PUT", "/roles", {"roles": roles})
    assert answer.status == 400
    assert field in (None, answer.json["field"])
    assert house("GET", "/roles").json == {"roles": {}}


def test_a_role_that_somebody_holds_is_not_taken_away(house: House) -> None:
    house("PUT", "/roles", {"roles": {"chatter": CHATTER}})
    house.joined("bob", "chatter")
    answer = house("PUT", "/roles", {"roles": {}})
    assert (answer.status, "bob" in answer.json["detail"]) == (409, True)


# the last owner


def test_a_last_owner_key_is_warned_of_where_nobody_who_joined_can_sign_in(
    house: House, gateway: Gateway, deployment: Deployment
) -> None:
    assert "warning" not in house("DELETE", f"/keys/{_id(house.key)}").json, "Ada can sign in and make another"
    bolt = deployment.key("bolt")
    deployment.tenancy.people.put("bolt", "bob", "owner")
    deployment.tenancy.people.put("bolt", "eve", "viewer")
    deployment.key("bolt", member="eve")  # an owner's key by its word, not by hers
    answer = gateway.call("DELETE", f"/tenants/bolt/keys/{_id(bolt)}", key=bolt)
    assert "can make a new one" in msgspec.json.decode(answer.body)["warning"]


def _id(text: str) -> str:
    return text.split("_")[1]
