"""Whoever asks below a surface's prefix gets errors in that surface's shape, also where nothing is served."""

from itertools import permutations

import msgspec
import pytest

import app  # fills ROUTES, too
from chalicelib.http.problems import Shape
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.http.routing import Prefixes
from chalicelib.http.shapes import SHAPES
from tests.api import signing
from tests.api.paths import filled
from tests.api.test_permissions import TABLE
from tests.examples import in_turn
from tests.small_deployments import Answer, Deployment, Gateway

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
GREEDY = {route.resource.rpartition("/")[0] for route in ROUTES if route.resource.endswith("+}")}
"""Below which everything is served."""


def path_of(route: Route) -> str:
    return filled(route.path)


def shape_of(answer: Answer) -> Shape:
    """The shape of an error, which names its request in the body and in the header."""
    assert answer.status >= 400, answer
    said, request_id = answer.json, answer.headers["x-request-id"]
    if answer.headers["content-type"] == "application/problem+json":
        assert (said["type"].startswith("/problems/"), said["request_id"]) == (True, request_id)
        return "problem"
    assert answer.headers["content-type"] == "application/json"
    if "__type" in said:
        assert said["request_id"] == answer.headers["x-amzn-requestid"] == request_id
        assert said["__type"] == said["code"] == answer.headers["x-amzn-errortype"]
        assert said["message"]
        return "bedrock"
    if said.get("type") == "error":
        assert said["request_id"] == answer.headers["request-id"] == request_id
        return "anthropic"
    assert said["error"]["request_id"] == request_id
    return "openai"


@in_turn("route", [route for route in ROUTES if not {route.path, route.path.rpartition("/")[0]} & GREEDY])
def test_what_is_not_served_below_a_route_is_refused_in_its_shape(
    gateway: Gateway, deployment: Deployment, route: Route
) -> None:
    answer = gateway.call("GET", f"{path_of(route)}/no/such/thing")
    assert (answer.status, shape_of(answer)) == (404, route.shape)
    assert b"/openapi.json" in answer.body


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/tenants/acme/v1/responses/r/batches", "openai"),
        ("/tenants/acme/v1/batches", "openai"),
        ("/tenants/acme/v1/messages/batches", "anthropic"),
        ("/tenants/acme/v1/messages-of-mine", "openai"),
        ("/tenants/acme/nothing", "problem"),
        ("/tenants//v1/models", "openai"),
        ("/v1/bedrock/nothing", "problem"),
        ("/v1/bedrock/model/m/count-tokens", "bedrock"),
        ("/tenants/acme/v1/bedrock/model/m/count-tokens", "bedrock"),
        ("/tenants/acme/v1/bedrock/nothing", "openai"),
        ("/v1/dashboard/nothing", "problem"),
        ("/admin/nothing", "problem"),
        ("/nothing", "problem"),
    ],
)
def test_what_is_not_served_below_a_prefix_is_refused_in_its_shape(
    gateway: Gateway, deployment: Deployment, path: str, shape: Shape
) -> None:
    answer = gateway.call("POST", path, json={})
    assert (answer.status, shape_of(answer)) == (404, shape)


@in_turn("route", ROUTES)
def test_a_method_that_is_not_served_is_refused_in_the_routes_shape(
    gateway: Gateway, deployment: Deployment, route: Route
) -> None:
    served = set(app.app.routes[route.resource])
    answer = gateway.call(next(method for method in METHODS if method not in served), path_of(route))
    assert (answer.status, shape_of(answer)) == (405, route.shape)
    assert b"/openapi.json" in answer.body
    assert answer.headers["allow"] == ", ".join(sorted(served))


@in_turn("route", [route for route in ROUTES if route.auth != "none"])
def test_a_wrong_signature_is_refused_in_the_routes_shape(
    gateway: Gateway, deployment: Deployment, route: Route
) -> None:
    body = msgspec.json.encode(TABLE[route.called].body)
    url = f"http://{gateway.host}:{gateway.port}{path_of(route)}"
    headers = signing.signed(route.method, url, body, {"Content-Type": "application/json"}, secret="guessed")
    answer = gateway.call(route.method, path_of(route), body=body, headers=headers)
    assert (answer.status, shape_of(answer)) == (401 if route.auth == "key" else 403, route.shape)


@in_turn("route", ROUTES)
def test_a_surface_registers_its_shape_for_its_whole_prefix(route: Route) -> None:
    assert SHAPES.of(route.path) == SHAPES.of(path_of(route)) == route.shape


def prefixes(*known: str) -> Prefixes[str]:
    """Each prefix holds itself."""
    made = Prefixes("none")
    for prefix in known:
        made.add(prefix, prefix)
    return made


@pytest.mark.parametrize("known", [*permutations(("/a", "/a/b", "/a/{any}/c"))])
def test_the_longest_prefix_decides_in_whatever_order_they_came(known: tuple[str, ...]) -> None:
    made = prefixes(*known)
    assert [made.of(path) for path in ("/a", "/a/b", "/a/b/x", "/a/x", "/a/b/c", "/a/x/c/d/e", "/b")] == [
        *("/a", "/a/b", "/a/b", "/a", "/a/{any}/c", "/a/{any}/c", "none")
    ]


def test_a_prefix_is_of_whole_segments() -> None:
    made = prefixes("/tenants/{tenant}/v1")
    assert [
        made.of(path) for path in ("/tenants/acme/v10", "/tenants/acme", "/tenants/acme/v1/", "/tenantsx/a/v1")
    ] == [*("none", "none", "/tenants/{tenant}/v1", "none")]


def test_a_parameter_is_never_empty() -> None:
    made = prefixes("/tenants/{tenant}/v1", "/tenants")
    assert made.of("/tenants//v1/models") == "/tenants"
    assert made.of("/tenants/%20/v1/models") == "/tenants/{tenant}/v1"


def test_every_path_is_below_the_root() -> None:
    made = prefixes("/", "/a")
    assert [made.of(path) for path in ("/", "", "/b", "/b/c", "/a", "/a/b")] == ["/", "/", "/", "/", "/a", "/a"]


def test_a_prefix_holds_one_thing() -> None:
    made = prefixes("/a")
    made.add("/a/", "/a")
    with pytest.raises(ValueError, match="/a"):
        made.add("/a", "another")
