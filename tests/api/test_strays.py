"""What no route has a place for is refused by name, at every door: parameters of a query, and bodies."""

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

import msgspec
import pytest

import app  # noqa: F401  # fills ROUTES
from chalicelib import wiring
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.tenancy import PLATFORM_TENANT
from tests.api import signing
from tests.api.test_misfits import told
from tests.api.test_permissions import TABLE, Caller
from tests.examples import in_turn
from tests.small_deployments import Answer, Deployment, Gateway

QUERIES = [
    (route, field.encode_name)
    for route in ROUTES
    if route.query is not None and route.closed_query
    for field in msgspec.structs.fields(route.query)
]
BODILESS = [route for route in ROUTES if route.accepts is None and route.auth != "signed"]
CLOSED = [route for route in ROUTES if route.closed_query]
OPEN = [route for route in ROUTES if not route.closed_query]


@pytest.fixture
def caller(gateway: Gateway, deployment: Deployment) -> Iterator[Caller]:
    caller = Caller(gateway, deployment)
    deployment.tenancy.principals.put("acme", [signing.OWNER.arn])
    with wiring.opening_into(deployment.rooms()):
        yield caller


def ask(caller: Caller, route: Route, query: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> Answer:
    """The request of the route's row, with more in its query, or with another body."""
    row = route.called
    path = caller.path(row)
    path = f"{path}{'&' if '?' in path else '?'}{query}" if query else path
    if body is None:
        named = caller.body(row)
        body = b"" if named is None else msgspec.json.encode(named)
    sent = {"Content-Type": "application/json", "X-Tenant-ID": "acme", **headers}
    if route.auth == "signed":
        return signing.call(caller.gateway, route.method, path, body, sent)
    key = caller.deployment.key(PLATFORM_TENANT if route.permission == "operate" else "acme")
    return caller.gateway.call(route.method, path, key=key, body=body or None, headers=sent)


@in_turn("route", CLOSED)
@pytest.mark.parametrize("name", ["surprise", "Limit", "x" * 5_000, "n%00m", "limit%5B%5D"])
def test_an_unknown_parameter_is_refused_by_name(caller: Caller, route: Route, name: str) -> None:
    answer = ask(caller, route, f"{name}=1")
    field, text = told(answer, route)
    assert answer.status == 400, answer.body
    assert field == unquote(name)[:64]
    assert "is no query parameter of this route. It takes" in text
    for known in msgspec.structs.fields(route.query) if route.query else ():
        assert known.encode_name in text or route.returns_to_anthropic is not None


@in_turn("route", CLOSED)
def test_a_parameter_without_a_value_is_one(caller: Caller, route: Route) -> None:
    assert ask(caller, route, "surprise").status == 400


@pytest.mark.parametrize("route", OPEN, ids=lambda route: route.name)
def test_what_others_put_into_a_link_is_let_pass(caller: Caller, route: Route) -> None:
    """Where a model is run, and on public pages."""
    row = TABLE[route.called]
    assert ask(caller, route, "utm_source=mail&probe=1&probe=2").status == row.success


@in_turn("route, name", QUERIES)
def test_a_parameter_is_taken_once(caller: Caller, route: Route, name: str) -> None:
    headers = {"anthropic-version": "2023-06-01"} if route.returns_to_anthropic else {}  # whose pages they are
    answer = ask(caller, route, f"{name}=1&{name}=2", headers=headers)
    assert answer.status == 400
    assert b'"field":"%s"' % name.encode() in answer.body or b'"param":"%s"' % name.encode() in answer.body
    assert b"times. Send it once." in answer.body


@pytest.mark.parametrize("route", [route for route in ROUTES if route.shape == "anthropic"], ids=lambda r: r.name)
def test_what_anthropics_sdk_puts_into_a_query_is_let_pass(caller: Caller, route: Route) -> None:
    assert ask(caller, route, "beta=true").status == 200


@pytest.mark.parametrize("route", [route for route in ROUTES if route.shape == "openai"], ids=lambda r: r.name)
def test_what_azures_sdks_put_into_a_query_is_let_pass(caller: Caller, route: Route) -> None:
    assert ask(caller, route, "api-version=2024-10-21").status == 200


def test_the_pages_of_a_list_of_models_are_anthropics_alone(caller: Caller) -> None:
    (route,) = [route for route in ROUTES if route.name == "list_models"]
    assert ask(caller, route, "limit=1").json["error"]["param"] == "limit"
    paged = ask(caller, route, "limit=1&beta=true", headers={"anthropic-version": "2023-06-01"})
    assert (paged.status, len(paged.json["data"])) == (200, 1)


@in_turn("route", BODILESS)
@pytest.mark.parametrize("body", [b'{"grace_s":60}', b"[1]", b"7", b"x", b'{"a":'])
def test_a_body_that_nobody_reads_is_refused(caller: Caller, route: Route, body: bytes) -> None:
    answer = ask(caller, route, "", body)
    assert (answer.status, b"takes no body" in answer.body) == (400, True), answer.body
    if b"grace_s" in body:
        assert told(answer, route)[0] == "grace_s"


@pytest.mark.parametrize("route", BODILESS, ids=lambda route: route.name)
@pytest.mark.parametrize("body", [b"{}", b"null", b" {} ", b"\xef\xbb\xbf{}"])
def test_a_body_of_nothing_says_nothing(caller: Caller, route: Route, body: bytes) -> None:
    if route.name == "delete_pool":
        caller.deployment.tenancy.put_pool(caller.deployment.tenancy.pool("model-a"))
    assert ask(caller, route, "", body).status == TABLE[route.called].success


@in_turn("route", [route for route in ROUTES if route.closed and TABLE[route.called].body])
def test_a_member_that_is_there_twice_is_refused_by_name(caller: Caller, route: Route) -> None:
    row = caller.body(route.called)
    assert row is not None
    name = next(iter(row))
    member = msgspec.json.encode({name: row[name]})[1:-1]
    answer = ask(caller, route, "", b"{%s,%s}" % (member, member))
    assert (answer.status, told(answer, route)[0]) == (400, name)


def test_a_member_that_is_there_twice_within_is_refused_by_name(caller: Caller) -> None:
    (route,) = [route for route in ROUTES if route.name == "create_key"]
    answer = ask(caller, route, "", b'{"role":"viewer","scopes":{"pools":["model-a"],"pools":[]}}')
    assert (answer.status, told(answer, route)[0]) == (400, "pools")


def test_a_signature_in_the_query_is_no_parameter_of_ours(caller: Caller) -> None:
    (route,) = [route for route in ROUTES if route.name == "list_tenants"]
    assert ask(caller, route, "X-Amz-Date=20261129T000000Z&X-Amz-Signature=ab").status == 200
