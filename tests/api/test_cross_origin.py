"""Web pages of other origins: those that a tenant lists may call its routes and read what comes; nobody else's may."""

import asyncio
import json
import threading
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from app import app
from chalicelib import wiring
from chalicelib.admission.limits import Budget, Limits
from chalicelib.engines.scripted import words
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.http.silence import COMMENT, Gaps
from chalicelib.tenancy import PLATFORM_TENANT, Change
from chalicelib.tenancy.tenant import Tenant
from tests import api_gateway
from tests.api.paths import filled
from tests.api.test_leaving import CHAT, CHATS, Client, Front, play
from tests.api.test_permissions import TABLE, Caller
from tests.examples import in_turn
from tests.small_deployments import Answer, Deployment, Gateway

PAGE = "https://app.example.com"
OTHERS = {
    "another's": "https://evil.example",
    "a longer one": f"{PAGE}.evil.example",
    "a shorter one": "https://app.example.co",
    "another scheme": "http://app.example.com",
    "another port": f"{PAGE}:8443",
    "capitals": "https://APP.example.com",
    "nobody's": "null",
    "everybody's": "*",
    "none": "",
}
OURS = [route for route in ROUTES if route.path.startswith("/tenants/{tenant}")]
NOT_OURS = [route for route in ROUTES if route not in OURS]


@pytest.fixture
def open_deployment(deployment: Deployment) -> Deployment:
    """Where `acme` lists our page, and `bolt` does not."""
    deployment.tenancy.change_tenant("acme", Change(origins=(PAGE, "http://localhost:3000")))
    return deployment


def path_of(route: Route, tenant: str = "acme") -> str:
    return filled(route.path, tenant=tenant, step="clear")


def preflight(gateway: Gateway, path: str, origin: str | None = PAGE, method: str = "POST", names: str = "") -> Answer:
    headers = {"Origin": origin, "Access-Control-Request-Method": method} if origin is not None else {}
    if names:
        headers["Access-Control-Request-Headers"] = names
    return gateway.call("OPTIONS", path, headers=headers)


def said(answer: Answer) -> dict[str, str]:
    """What is told to browsers; it never lets anybody in, or credentials."""
    found = {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}
    assert "access-control-allow-credentials" not in found
    assert "*" not in found.values()
    return found


@in_turn("route", OURS)
def test_a_listed_page_may_call_every_route_of_the_tenant(
    gateway: Gateway, open_deployment: Deployment, route: Route
) -> None:
    names = "authorization,content-type,x-stainless-lang,anthropic-version"
    answer = preflight(gateway, path_of(route), method=route.method, names=names)
    told = said(answer)
    assert (answer.status, answer.body) == (204, b"")
    assert told["access-control-allow-origin"] == PAGE
    assert route.method in told["access-control-allow-methods"].split(", ")
    assert told["access-control-allow-headers"] == names
    assert int(told["access-control-max-age"]) <= 7_200
    assert "Origin" in answer.headers["vary"]


@in_turn("route", OURS)
@pytest.mark.parametrize("tenant", ["bolt", "nobody", PLATFORM_TENANT, "~platform", "a" * 3_000])
def test_no_page_may_call_a_tenant_that_does_not_list_it(
    gateway: Gateway, open_deployment: Deployment, route: Route, tenant: str
) -> None:
    answer = preflight(gateway, path_of(route, tenant))
    assert (answer.status, said(answer), answer.headers["vary"]) == (403, {}, "Origin")
    assert b"`origins`" in answer.body
    assert tenant.encode() not in answer.body.replace(b"{tenant}", b"")


@pytest.mark.parametrize("origin", OTHERS.values(), ids=OTHERS)
def test_a_page_that_is_not_listed_may_neither_call_nor_read(
    gateway: Gateway, open_deployment: Deployment, origin: str
) -> None:
    assert said(preflight(gateway, CHATS, origin)) == {}
    answer = gateway.call("POST", CHATS, key=open_deployment.key(), json=CHAT, headers={"Origin": origin})
    assert (answer.status, said(answer)) == (200, {})


def test_who_is_no_page_asks_what_is_served(gateway: Gateway, open_deployment: Deployment) -> None:
    answer = preflight(gateway, "/tenants/acme/v1/models", None)
    assert (answer.status, answer.headers["allow"], said(answer)) == (204, "GET, HEAD, OPTIONS", {})


@pytest.mark.parametrize("names", ["", "x y", "a,,b", "a\tb", "<script>", "a" * 3_000 + " b"])
def test_what_is_no_list_of_headers_is_not_said_again(
    gateway: Gateway, open_deployment: Deployment, names: str
) -> None:
    assert "access-control-allow-headers" not in said(preflight(gateway, CHATS, names=names))


@in_turn("route", NOT_OURS)
def test_nothing_else_is_for_pages_of_others(gateway: Gateway, open_deployment: Deployment, route: Route) -> None:
    answer = preflight(gateway, path_of(route))
    assert (answer.status, said(answer)) == (405, {})
    assert said(gateway.call(route.method, path_of(route), json={}, headers={"Origin": PAGE})) == {}


@pytest.mark.parametrize("route", OURS, ids=lambda route: route.name)
def test_a_listed_page_reads_answers_and_refusals(gateway: Gateway, open_deployment: Deployment, route: Route) -> None:
    caller, name = Caller(gateway, open_deployment), route.called
    with wiring.opening_into(open_deployment.rooms()):
        answers = [caller(name, key, headers={"Origin": PAGE}) for key in (None, open_deployment.key())]
    assert [answer.status for answer in answers] == [401, TABLE[name].success]
    for answer in answers:
        told = said(answer)
        assert told["access-control-allow-origin"] == PAGE
        exposed = told["access-control-expose-headers"].lower().split(", ")
        assert {"x-request-id", "request-id", "retry-after", "retry-after-ms", "x-should-retry"} <= set(exposed)
        assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    ("method", "path", "how", "status"),
    [
        ("POST", CHATS, {"body": b"{"}, 400),
        ("POST", CHATS, {"json": {**CHAT, "model": "none"}}, 404),
        ("POST", CHATS, {"json": CHAT, "headers": {"X-Padding": "x" * 11_000}}, 413),
        ("POST", CHATS, {"json": CHAT}, 429),
        ("GET", CHATS, {}, 405),
        ("GET", "/tenants/acme/v1/nothing", {}, 404),
        ("POST", "/tenants/acme/chat/completions", {"json": CHAT}, 404),
        ("HEAD", "/tenants/acme/v1/models", {}, 200),
    ],
)
def test_a_listed_page_reads_why_it_was_refused(
    gateway: Gateway, open_deployment: Deployment, method: str, path: str, how: dict[str, Any], status: int
) -> None:
    spent = Limits(rates=(), budgets=(Budget("calls", "requests", 1, "month"),), in_flight=8)
    if status == 429:
        open_deployment.tenancy.change_tenant("acme", Change(limits=spent))
        assert gateway.call("POST", CHATS, key=open_deployment.key(), json=CHAT).status == 200
    headers = {"Origin": PAGE, **how.pop("headers", {})}
    answer = gateway.call(method, path, key=open_deployment.key(), headers=headers, **how)
    assert (answer.status, said(answer).get("access-control-allow-origin")) == (status, PAGE)


@pytest.mark.parametrize("path", ["/tenants/acme/chat/completions", "/tenants/acme/v1/v1/messages"])
def test_a_page_whose_base_url_is_wrong_may_read_so(gateway: Gateway, open_deployment: Deployment, path: str) -> None:
    assert said(preflight(gateway, path))["access-control-allow-origin"] == PAGE
    assert preflight(gateway, path, "https://evil.example").status == 403
    assert b"base_url" in gateway.call("POST", path, json={}, headers={"Origin": PAGE}).body


def test_a_stream_is_read_by_a_listed_page_whoever_opens_it() -> None:
    gate = threading.Event()
    silent = Front(gate, *words("one two"), gaps=Gaps(0.001, 0.001))
    silent.deployment.tenancy.change_tenant("acme", Change(origins=(PAGE,)))

    async def scene() -> None:
        pages = [Client(silent, headers={"origin": origin}) for origin in (PAGE, "https://evil.example")]
        await pages[0].until(lambda: COMMENT in pages[0].body)
        await pages[1].until(lambda: COMMENT in pages[1].body)
        gate.set()
        await asyncio.gather(*(page.exchange for page in pages))
        pages.append(Client(silent, headers={"origin": PAGE}))  # whose model answers at once
        await pages[2].exchange
        allowed = [page.headers.get("access-control-allow-origin") for page in pages]
        assert allowed == [PAGE, None, PAGE]
        assert [page.headers["vary"] for page in pages] == ["Origin"] * 3

    play(silent, scene)


def test_a_page_is_listed_and_struck_off_by_the_next_preflight(gateway: Gateway, deployment: Deployment) -> None:
    """In every gateway, also one that remembers the tenant as it was."""
    rooms = [deployment.rooms(), deployment.rooms()]

    def everywhere() -> list[int]:
        statuses = []
        for each in rooms:
            with wiring.opening_into(each):
                statuses.append(preflight(gateway, CHATS).status)
        return statuses

    assert everywhere() == [403, 403]
    deployment.tenancy.change_tenant("acme", Change(origins=(PAGE,)))
    assert everywhere() == [204, 204]
    deployment.tenancy.change_tenant("acme", Change(origins=()))
    assert everywhere() == [403, 403]


@pytest.mark.parametrize(
    "origin",
    [
        "*", "null", "", "app.example.com", "https://", "https://app.example.com/", "https://app.example.com/path",
        "https://APP.example.com", "https://*.example.com", "https://a b", "https://a\n", "https://user@host",
        "https://host:port", "https://" + "a" * 300,
    ],
)  # fmt: skip
def test_what_is_no_origin_is_not_listed(gateway: Gateway, deployment: Deployment, origin: str) -> None:
    key = deployment.key(PLATFORM_TENANT)
    answer = gateway.call("PATCH", "/admin/tenants/acme", key=key, json={"origins": [origin]})
    assert (answer.status, "origins" in answer.json["field"]) == (400, True)


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:3000", "http://[::1]:8080", "capacitor://localhost"])
def test_an_origin_is_listed_by_the_operator(gateway: Gateway, deployment: Deployment, origin: str) -> None:
    key = deployment.key(PLATFORM_TENANT)
    for method, path, body in (
        ("PATCH", "/admin/tenants/acme", {}),
        ("POST", "/admin/tenants", {"id": "cora", "name": "Cora"}),
    ):
        answer = gateway.call(method, path, key=key, json={**body, "origins": [origin]})
        assert (answer.status, answer.json["origins"]) == (200 if method == "PATCH" else 201, [origin])
    assert gateway.call("PATCH", "/admin/tenants/acme", key=key, json={"origins": [PAGE] * 51}).status == 400


def test_tenants_of_yesterday_list_no_origins() -> None:
    assert msgspec.json.decode(b'{"id":"acme","name":"Acme"}', type=Tenant).origins == ()


def as_lambda_calls(method: str, headers: Mapping[str, str], body: Any = None) -> dict[str, Any]:
    template = "/tenants/{tenant}/v1/chat/completions"
    event = api_gateway.event(
        method, template, {"tenant": "acme"}, headers=headers, body=None if body is None else json.dumps(body)
    )
    answer: dict[str, Any] = json.loads(json.dumps(app(event, None)))
    return answer


@pytest.mark.parametrize("spelling", ["Origin", "origin"])
def test_lambda_answers_pages_as_well(open_deployment: Deployment, spelling: str) -> None:
    asked = as_lambda_calls("OPTIONS", {spelling: PAGE, "Access-Control-Request-Headers": "authorization"})
    assert (asked["statusCode"], asked["body"]) == (204, "")
    assert asked["headers"]["Access-Control-Allow-Origin"] == PAGE
    assert asked["headers"]["Access-Control-Allow-Headers"] == "authorization"
    refused = as_lambda_calls("POST", {spelling: PAGE}, CHAT)
    assert (refused["statusCode"], refused["headers"]["Access-Control-Allow-Origin"]) == (401, PAGE)
    keyed = {spelling: PAGE, "Authorization": f"Bearer {open_deployment.key()}"}
    streamed = as_lambda_calls("POST", keyed, {**CHAT, "stream": True})
    assert (streamed["statusCode"], streamed["headers"]["Access-Control-Allow-Origin"]) == (200, PAGE)
