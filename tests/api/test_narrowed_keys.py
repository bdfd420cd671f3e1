"""A key that is narrowed makes nothing and touches nothing that is more than it has: every route, every narrowing.

Which route is which stands in the table of test_permissions.py. Narrowed is a key to pools,
to surfaces, to tools, to routes, to a time, or by guardrails of its own.
"""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from chalicelib import wiring
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.key_text import parse
from chalicelib.tenancy.tenant import Role
from guard import Rules
from tests.api.test_permissions import ADMINS, TABLE, TENANTS, Caller
from tests.small_deployments import T0, Answer, Deployment, Gateway

HOUR_MS = 3_600_000
GUARDRAILS = Rules(packs=("cards",), max_prompt_bytes=100)
NARROWINGS: dict[str, dict[str, Any]] = {
    "to a time": {"expires_ms": T0 + HOUR_MS},
    "to pools": {"pools": ("model-a", "sealed")},
    "to surfaces": {"surfaces": ("management", "openai")},
    "to tools": {"tools": ("get_*",)},
    "to routes": {"routes": ("* /tenants/*", "* /admin/*")},
    "by guardrails": {"guardrails": GUARDRAILS},
    "to all of them": {
        "expires_ms": T0 + HOUR_MS,
        "pools": ("model-a", "sealed"),
        "surfaces": ("management",),
        "tools": ("get_*",),
        "routes": ("* /tenants/*", "* /admin/*"),
        "guardrails": GUARDRAILS,
    },
}
# What such a key may make, asked as a body: exactly what it has.
COVERED: dict[str, dict[str, Any]] = {
    "to a time": {"expires_in_s": 3_600},
    "to pools": {"scopes": {"pools": ["model-a", "sealed"]}},
    "to surfaces": {"scopes": {"surfaces": ["management", "openai"]}},
    "to tools": {"scopes": {"tools": ["get_mail", "get_?"]}},
    "to routes": {"scopes": {"routes": ["GET /tenants/*", "POST /admin/*"]}},
    "by guardrails": {"guardrails": {"packs": ["mail", "cards"], "max_prompt_bytes": 99}},
    "to all of them": {
        "expires_in_s": 3_600,
        "scopes": {
            "pools": ["model-a", "sealed"],
            "surfaces": ["management"],
            "tools": ["get_*"],
            "routes": ["* /tenants/*"],
        },
        "guardrails": {"packs": ["cards"], "max_prompt_bytes": 100},
    },
}
ALL = COVERED["to all of them"]
WIDER: list[dict[str, Any]] = [
    {},
    {**ALL, "expires_in_s": 3_601},
    {name: said for name, said in ALL.items() if name != "guardrails"},
    {**ALL, "guardrails": {"packs": ["cards"]}},
    {**ALL, "guardrails": {"packs": ["cards"], "max_prompt_bytes": 101}},
    {**ALL, "guardrails": {"packs": ["mail"], "max_prompt_bytes": 100}},
    {**ALL, "guardrails": {"packs": [{"name": "cards", "action": "flag"}], "max_prompt_bytes": 100}},
    *({**ALL, "scopes": {**ALL["scopes"], name: []}} for name in ALL["scopes"]),
    {**ALL, "scopes": {**ALL["scopes"], "tools": ["get_a", "*"]}},
    {**ALL, "scopes": {**ALL["scopes"], "pools": ["model-b"]}},
    {**ALL, "scopes": {**ALL["scopes"], "surfaces": ["native"]}},
    {**ALL, "scopes": {**ALL["scopes"], "routes": ["* /tenants/*", "GET *"]}},
]
"""More than a key has that is narrowed to all of them."""

MANAGING = [route for route in TENANTS if TABLE[route].surface == "management"]
WALKED = [*MANAGING, *ADMINS]
CLOSED = [route for route in WALKED if TABLE[route].for_narrowed == "closed"]
MAKING = [route for route in WALKED if TABLE[route].for_narrowed == "covering" and "{key}" not in route]
TOUCHING = [route for route in WALKED if TABLE[route].for_narrowed == "covering" and "{key}" in route]
OF_NO_KEY = ("/session/renew", "/membership")
OF_A_POOL = [
    route
    for route in TENANTS
    if TABLE[route].surface not in ("management", "bedrock") and not route.endswith(OF_NO_KEY)
]


class Narrowed:
    """Somebody with an owner key that is narrowed: of the platform for the admin surface, else of `acme`."""

    def __init__(self, caller: Caller, route: str, narrowing: str) -> None:
        self.caller = caller
        self.deployment = caller.deployment
        self.route = route
        self.narrowing = narrowing
        self.key = self.deployment.key(PLATFORM_TENANT if route in ADMINS else "acme", **NARROWINGS[narrowing])

    def sends_the_row(self) -> Answer:
        return self.caller(self.route, self.key)

    def makes(self, body: dict[str, Any], tenant: str = "acme") -> Answer:
        path = self.caller.path(self.route, tenant)
        return self.caller.gateway.call("POST", path, key=self.key, json=body)

    def touches(self, key: str) -> Answer:
        self.caller.spare = key
        return self.sends_the_row()


@pytest.fixture
def caller(gateway: Gateway, deployment: Deployment) -> Iterator[Caller]:
    deployment.pool("model-b")
    caller = Caller(gateway, deployment)
    with wiring.opening_into(deployment.rooms()):
        yield caller


def stored(deployment: Deployment) -> tuple[Any, ...]:
    """Everything that outlasts a request: of the tenants, their keys, members and pools."""
    tenancy = deployment.tenancy
    tenants = [tenant.id for tenant in tenancy.tenants()]
    each = [(tenancy.tenant(name), list(tenancy.keys(name)), list(tenancy.people.members(name))) for name in tenants]
    return each, list(tenancy.pools()), list(tenancy.key_epochs.living())


def id_in(text: str) -> str:
    token = parse(text)
    assert token is not None
    return token.key_id


def test_whatever_changes_something_says_what_a_narrowed_key_may() -> None:
    changing = {route for route in WALKED if not route.startswith("GET")}
    assert changing - {*CLOSED, *MAKING, *TOUCHING} == {"POST /tenants/{tenant}/kms-keys/{key}/probe"}  # it asks only


@pytest.mark.parametrize("narrowing", NARROWINGS)
@pytest.mark.parametrize("route", CLOSED)
def test_what_lasts_is_changed_by_no_narrowed_key(caller: Caller, route: str, narrowing: str) -> None:
    somebody = Narrowed(caller, route, narrowing)
    before = stored(caller.deployment)
    answer = somebody.sends_the_row()
    assert (answer.status, answer.json["type"]) == (403, "/problems/permission-denied"), answer.body
    assert "use a key that is neither narrowed nor expires" in answer.json["detail"]
    assert stored(caller.deployment) == before
    whole = caller.deployment.key(PLATFORM_TENANT if route in ADMINS else "acme")
    assert caller(route, whole).status == TABLE[route].success


@pytest.mark.parametrize("narrowing", NARROWINGS)
@pytest.mark.parametrize("route", [route for route in WALKED if TABLE[route].for_narrowed == "within"])
def test_what_does_not_last_is_open_to_narrowed_keys(caller: Caller, route: str, narrowing: str) -> None:
    answer = Narrowed(caller, route, narrowing).sends_the_row()
    assert answer.status == TABLE[route].success, answer.body


@pytest.mark.parametrize("narrowing", NARROWINGS)
@pytest.mark.parametrize("route", MAKING)
def test_a_narrowed_key_makes_keys_as_narrow_and_none_wider(caller: Caller, route: str, narrowing: str) -> None:
    somebody = Narrowed(caller, route, narrowing)
    for tenant in ("acme", PLATFORM_TENANT) if route in ADMINS else ("acme",):
        for role in get_args(Role):
            before = stored(caller.deployment)
            refused = somebody.makes({"role": role}, tenant)
            assert (refused.status, refused.json["type"]) == (403, "/problems/permission-denied"), refused.body
            assert stored(caller.deployment) == before
            if tenant == PLATFORM_TENANT and "pools" in NARROWINGS[narrowing]:
                continue  # it has no pools that a key of its own could be narrowed to
            assert somebody.makes({"role": role, **COVERED[narrowing]}, tenant).status == 201


@pytest.mark.parametrize("more", WIDER)
@pytest.mark.parametrize("route", MAKING)
def test_a_key_that_is_wider_in_one_way_is_not_made(caller: Caller, route: str, more: dict[str, Any]) -> None:
    assert Narrowed(caller, route, "to all of them").makes({"role": "viewer", **more}).status == 403


@pytest.mark.parametrize("narrowing", NARROWINGS)
@pytest.mark.parametrize("route", TOUCHING)
def test_a_narrowed_key_revokes_and_rotates_keys_as_narrow_and_none_wider(
    caller: Caller, route: str, narrowing: str
) -> None:
    somebody, tenancy = Narrowed(caller, route, narrowing), caller.deployment.tenancy
    wider = [scopes for other, scopes in NARROWINGS.items() if other not in (narrowing, "to all of them")]
    for scopes in ({}, *wider):
        target = id_in(caller.deployment.key("acme", "viewer", **scopes))
        before = list(tenancy.keys("acme"))
        refused = somebody.touches(target)
        assert (refused.status, refused.json["type"]) == (403, "/problems/permission-denied"), refused.body
        assert list(tenancy.keys("acme")) == before
    covered = id_in(caller.deployment.key("acme", "owner", **NARROWINGS["to all of them"]))
    assert somebody.touches(covered).status == TABLE[route].success


@pytest.mark.parametrize("route", OF_A_POOL)
def test_a_pool_that_a_key_is_not_narrowed_to_is_not_there_for_it(caller: Caller, route: str) -> None:
    elsewhere = caller.deployment.key("acme", "owner", pools=("model-b",))
    assert caller(route, elsewhere).status == (200 if route.endswith("/models") else 404)
    assert b"model-a" not in caller("GET /tenants/{tenant}/v1/models", elsewhere).body


def test_no_key_whose_time_is_over_left_anything_that_opens(caller: Caller) -> None:
    """As it was found: an operator's key for an hour made itself one without an end."""
    brief = caller.deployment.key(PLATFORM_TENANT, "owner", expires_ms=T0 + HOUR_MS)
    asked = {f"/admin/tenants/{tenant}/keys": {"role": "owner"} for tenant in (PLATFORM_TENANT, "acme")}
    assert {caller.gateway.call("POST", path, key=brief, json=body).status for path, body in asked.items()} == {403}
    made = [
        caller.gateway.call("POST", path, key=brief, json={**body, "expires_in_s": 3_600}).json["api_key"]
        for path, body in asked.items()
    ]
    caller.deployment.clock.now_ms = T0 + HOUR_MS
    assert caller.gateway.call("GET", "/admin/tenants", key=made[0]).status == 401
    assert caller.gateway.call("GET", "/tenants/acme/keys", key=made[1]).status == 401
