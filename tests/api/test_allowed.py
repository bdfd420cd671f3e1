"""What a tenant, or a key, is narrowed to: every route, each in its own shape, before anything is charged."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from chalicelib import wiring
from chalicelib.tenancy.tenant import SurfaceName
from tests.api.test_permissions import TABLE, TENANTS, Caller
from tests.small_deployments import Answer, Deployment, Gateway

CHATS = "POST /tenants/{tenant}/v1/chat/completions"
MODELS = "GET /tenants/{tenant}/v1/models"
GUARDRAILS = "PUT /tenants/{tenant}/guardrails"
NARROWED = [route for route in TENANTS if TABLE[route].surface != "any"]
MANAGING = [route for route in NARROWED if TABLE[route].surface == "management"]
RUNNING = [route for route in NARROWED if route not in MANAGING]
SURFACES = [surface for surface in get_args(SurfaceName) if surface != "management"]


@pytest.fixture
def caller(gateway: Gateway, deployment: Deployment) -> Iterator[Caller]:
    caller = Caller(gateway, deployment)
    with wiring.opening_into(deployment.rooms()):
        yield caller


def put(caller: Caller, said: Any) -> Answer:
    return caller.gateway.call("PUT", "/tenants/acme/guardrails", key=caller.deployment.key("acme"), json=said)


def allow(caller: Caller, **allowed: Any) -> None:
    answer = put(caller, {"allow": allowed})
    assert answer.status == 200, answer.body


def charged(caller: Caller) -> Any:
    return caller.deployment.store.ledger.page("acme", 0, 10**15, None, 100).entries


def text_of(answer: Answer) -> str:
    """What was said, in whichever shape."""
    said = answer.json
    error = said.get("error")
    return str(error["message"] if isinstance(error, dict) else said.get("detail") or said.get("message"))


@pytest.mark.parametrize("route", RUNNING)
def test_a_tenants_routes_are_those_that_it_allows(caller: Caller, route: str) -> None:
    key = caller.deployment.key("acme")
    allow(caller, routes=[route])
    assert caller(route, key).status == TABLE[route].success
    before = charged(caller)
    allow(caller, routes=["GET *" if route.startswith("POST") else "POST *"])
    refused = caller(route, key)
    assert refused.status == 403, refused.body
    assert route in text_of(refused), "what was refused"
    assert "Use one of those, or ask an owner" in text_of(refused)
    assert charged(caller) == before


@pytest.mark.parametrize("route", RUNNING)
def test_a_tenants_surfaces_are_those_that_it_allows(caller: Caller, route: str) -> None:
    key, mine = caller.deployment.key("acme"), TABLE[route].surface
    allow(caller, surfaces=[mine])
    assert caller(route, key).status == TABLE[route].success
    allow(caller, surfaces=[surface for surface in SURFACES if surface != mine])
    refused = caller(route, key)
    assert refused.status == 403, refused.body
    assert "allows these surfaces" in text_of(refused)


@pytest.mark.parametrize("route", MANAGING)
def test_nobody_is_locked_out_of_management(caller: Caller, route: str) -> None:
    allow(caller, surfaces=["native"], pools=["sealed"], routes=["POST /inference"])
    answer = caller(route, caller.deployment.key("acme"))
    assert answer.status == TABLE[route].success, answer.body


def test_a_tenants_pools_are_those_that_it_allows(caller: Caller) -> None:
    key = caller.deployment.key("acme")
    allow(caller, pools=["sealed"])
    assert b"model-a" not in caller(MODELS, key).body
    assert caller("GET /tenants/{tenant}/v1/models/{model}", key).status == 404
    refused = caller(CHATS, key)
    assert (refused.status, refused.json["error"]["code"]) == (403, "permission_denied")
    assert "allows these models: sealed, and not model-a" in text_of(refused)
    assert charged(caller) == ()


@pytest.mark.parametrize(
    ("allowed", "said"),
    [
        ({"pools": ["model-c"]}, "'model-c' among the tenant's"),
        ({"routes": ["POST /tenants/{tenant}/v1/chats"]}, "No route is called"),
        ({"routes": ["* /tenants/{tenant}/keys"]}, "No route is called"),  # management is none that is allowed or not
        ({"routes": ["GET /live"]}, "No route is called"),
        ({"routes": ["chat"]}, "allow.routes[0]"),
        ({"surfaces": ["management"]}, "allow.surfaces[0]"),
        ({"tools": ["x"]}, "tools"),
    ],
)
def test_what_would_allow_nothing_is_refused_with_its_reason(caller: Caller, allowed: Any, said: str) -> None:
    answer = put(caller, {"allow": allowed})
    assert answer.status == 400
    assert said in str(answer.json)


def test_what_is_allowed_is_shown_and_taken_away(caller: Caller) -> None:
    said = {"surfaces": ["openai"], "pools": [], "routes": ["POST /tenants/{tenant}/v1/*"]}
    assert put(caller, {"allow": said}).json["allow"] == said
    key = caller.deployment.key("acme")
    assert caller.gateway.call("GET", "/tenants/acme/guardrails", key=key).json["allow"] == said
    assert caller(MODELS, key).status == 403
    assert put(caller, {}).json["allow"] == {"surfaces": [], "pools": [], "routes": []}
    assert caller(MODELS, key).status == 200


def test_what_one_tenant_allows_is_nothing_to_another(caller: Caller) -> None:
    allow(caller, routes=["POST /inference"])
    answer = caller(MODELS, caller.deployment.key("bolt"), tenant="bolt")
    assert answer.status == 200


@pytest.mark.parametrize("route", NARROWED)
def test_a_key_comes_by_the_routes_that_it_is_narrowed_to(caller: Caller, route: str) -> None:
    mine = caller.deployment.key("acme", routes=(route,))
    others = caller.deployment.key("acme", routes=("GET *" if route.startswith("POST") else "POST *",))
    if TABLE[route].for_narrowed == "within":
        assert caller(route, mine).status == TABLE[route].success
    refused = caller(route, others)
    assert refused.status == 403, refused.body
    assert f"Use another key for {route}" in text_of(refused)


@pytest.mark.parametrize("route", [route for route in TENANTS if TABLE[route].surface == "any"])
def test_what_every_key_needs_is_by_every_narrowing(caller: Caller, route: str) -> None:
    allow(caller, routes=["POST /inference"])
    narrow = caller.deployment.key("acme", routes=("POST /inference",))
    assert caller(route, narrow).status == TABLE[route].success


def test_members_come_by_the_routes_of_their_role(caller: Caller) -> None:
    owner = caller.deployment.key("acme")
    roles = {"chatter": {"base": "developer", "scopes": {"routes": [CHATS]}}}
    assert caller.gateway.call("PUT", "/tenants/acme/roles", key=owner, json={"roles": roles}).status == 200
    caller.deployment.tenancy.people.put("acme", "eve", "chatter")
    hers = caller.deployment.key("acme", "owner", member="eve")
    assert caller(CHATS, hers).status == 200
    assert caller(MODELS, hers).status == 403
    both = caller.deployment.key("acme", "owner", member="eve", routes=("GET *",))
    assert {caller(route, both).status for route in (CHATS, MODELS)} == {403}, "of two narrowings both count"
    unknown = {"chatter": {"base": "developer", "scopes": {"routes": ["GET /nowhere"]}}}
    refused = caller.gateway.call("PUT", "/tenants/acme/roles", key=owner, json={"roles": unknown})
    assert (refused.status, refused.json["field"]) == (400, "roles.chatter.scopes.routes[0]")


def test_a_key_is_narrowed_to_no_route_that_there_is_not(caller: Caller) -> None:
    body = {"role": "developer", "scopes": {"routes": [CHATS, "GET /nowhere"]}}
    refused = caller.gateway.call("POST", "/tenants/acme/keys", key=caller.deployment.key("acme"), json=body)
    assert (refused.status, refused.json["field"]) == (400, "scopes.routes[1]")
