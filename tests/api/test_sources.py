"""A tenant's callers come in from the places that it lists, by every door, and streams end with what let them in."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from app import app
from chalicelib import wiring
from chalicelib.http.bridge import Bridge
from chalicelib.http.ids import Ids
from chalicelib.http.incoming import incoming
from chalicelib.http.route_table import ROUTES
from chalicelib.settings import Settings
from chalicelib.sight import UNTRACED
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.sources import NetworkSource
from tests.api.signing import OWNER
from tests.api.signing import call as signed
from tests.api.test_leaving import CHUNK, Client, Front, play
from tests.api.test_permissions import TENANTS, Caller
from tests.api.test_revoked_streams import AT_ONCE_S, BEGUN
from tests.small_deployments import Answer, Deployment, Gateway, served

PATH = "/tenants/acme/sources"


@pytest.fixture(scope="module")
def behind_a_proxy() -> Iterator[Gateway]:
    """Which believes the proxy before it."""
    with served(Bridge(app, Settings().body_limit_bytes, {}, trusted_hops=1)) as gateway:
        yield gateway


def put(gateway: Gateway, key: str, *sources: str, at: str, **more: bool) -> Answer:
    body = {"sources": sources, **more}
    return gateway.call("PUT", PATH, key=key, json=body, headers={"X-Forwarded-For": at})


def listed(gateway: Gateway, key: str | None, at: str) -> Answer:
    return gateway.call("GET", PATH, key=key, headers={"X-Forwarded-For": at, "X-Request-ID": "fixed"})


def test_a_key_is_let_in_from_the_places_listed_and_told_elsewhere_why_not(
    behind_a_proxy: Gateway, deployment: Deployment
) -> None:
    key = deployment.key()
    assert put(behind_a_proxy, key, "203.0.113.0/24", "2001:db8::/32", at="203.0.113.7").status == 200
    assert listed(behind_a_proxy, key, "2001:db8::9").json["yours"] == {"ip": "2001:db8::9", "vpc_endpoint": ""}
    refused = listed(behind_a_proxy, key, "198.51.100.7")
    assert (refused.status, "198.51.100.7" in refused.json["detail"]) == (403, True)
    # To a list that holds for one process another one, which remembers the tenant, holds as well.
    assert listed(behind_a_proxy, key, "203.0.113.8").status == 200


def test_a_stranger_hears_the_same_from_everywhere(behind_a_proxy: Gateway, deployment: Deployment) -> None:
    put(behind_a_proxy, deployment.key(), "203.0.113.0/24", at="203.0.113.7")
    strangers = [
        listed(behind_a_proxy, key, at) for key in (None, "ck_wrong") for at in ("203.0.113.7", "198.51.100.7")
    ]
    assert {answer.status for answer in strangers} == {401}
    assert len({answer.body for answer in strangers}) == 1
    foreign = [listed(behind_a_proxy, deployment.key("bolt"), at) for at in ("203.0.113.7", "198.51.100.7")]
    assert {answer.status for answer in foreign} == {404}
    assert len({answer.body for answer in foreign}) == 1


@pytest.mark.parametrize("route", TENANTS)
def test_no_door_of_a_tenant_is_open_from_elsewhere(gateway: Gateway, deployment: Deployment, route: str) -> None:
    caller = Caller(gateway, deployment)
    with wiring.opening_into(deployment.rooms()):
        key = deployment.key()
        deployment.tenancy.sources.put("acme", ("203.0.113.0/24",))
        refused = caller(route, key)
        assert (refused.status, b"127.0.0.1" in refused.body) == (403, True), refused.body


def test_a_list_that_locks_out_whoever_puts_it_is_refused_unless_they_say_so(
    behind_a_proxy: Gateway, deployment: Deployment
) -> None:
    key = deployment.key()
    refused = put(behind_a_proxy, key, "203.0.113.0/24", at="198.51.100.7")
    assert (refused.status, refused.json["field"]) == (400, "sources")
    assert deployment.tenancy.tenant("acme").sources == ()
    assert put(behind_a_proxy, key, "203.0.113.0/24", at="198.51.100.7", without_me=True).status == 200
    assert listed(behind_a_proxy, key, "198.51.100.7").status == 403
    cleared = behind_a_proxy.call(
        "DELETE", "/admin/tenants/acme/sources", key=deployment.key(PLATFORM_TENANT), headers={}
    )
    assert cleared.status == 204
    assert listed(behind_a_proxy, key, "198.51.100.7").status == 200


def test_a_signed_caller_is_asked_from_where(gateway: Gateway, deployment: Deployment) -> None:
    deployment.tenancy.principals.put("acme", [OWNER.arn])
    assert signed(gateway, "GET", "/v1/dashboard/requests", b"", {}).status == 200
    deployment.tenancy.sources.put("acme", ("203.0.113.0/24",))
    assert signed(gateway, "GET", "/v1/dashboard/requests", b"", {}).status == 403


def test_api_gateway_says_by_which_endpoint_a_request_came() -> None:
    (route,) = [route for route in ROUTES if route.name == "list_sources"]
    identity = {"sourceIp": "10.0.0.1", "vpceId": "vpce-0123456789abcdef0"}
    event = {"httpMethod": "GET", "headers": {}, "requestContext": {"identity": identity}}
    assert incoming(event, route, 0, Ids("id", UNTRACED)).source == NetworkSource("10.0.0.1", "vpce-0123456789abcdef0")


def test_a_running_stream_ends_where_its_caller_is_let_in_no_more() -> None:
    running = Front(*BEGUN, look_s=AT_ONCE_S)

    async def scene() -> None:
        stream = Client(running)
        await stream.until(lambda: CHUNK in stream.body)
        running.deployment.tenancy.sources.put("acme", ("203.0.113.0/24",))
        await stream.exchange
        assert b"VPC endpoints that it lists" in stream.body.removesuffix(b"\n\n").rpartition(b"data: ")[2]

    play(running, scene)


@pytest.mark.parametrize(("sign_up", "status", "said"), [("invited", 404, "invited"), ("open", 403, "payment method")])
def test_nobody_becomes_a_tenant_by_themselves(
    gateway: Gateway, deployment: Deployment, sign_up: str, status: int, said: str
) -> None:
    path = deployment.path()
    path = replace(path, settings=replace(path.settings, sign_up=sign_up))
    with wiring.opening_into(deployment.rooms(path)):
        refused = gateway.call("POST", "/signup")
    assert (refused.status, said in refused.json["detail"]) == (status, True)
