"""Who comes in by a signature, by a key, or not at all."""

from typing import Any

import pytest

import app  # noqa: F401  # fills ROUTES
from chalicelib.http.callers import Caller, let_in
from chalicelib.http.ids import Ids
from chalicelib.http.incoming import Incoming, incoming
from chalicelib.http.route import Route
from chalicelib.http.route_table import ROUTES
from chalicelib.identity import ApiKey, Sealer, Signed
from chalicelib.refusal import Forbidden, Unauthenticated
from chalicelib.sight import UNTRACED
from chalicelib.tenancy import Change
from tests.small_deployments import Deployment

ROLE = "arn:aws-us-gov:iam::111122223333:role/app"
SESSION = "arn:aws-us-gov:sts::111122223333:assumed-role/app/one"


@pytest.fixture(autouse=True)
def _principals(deployment: Deployment) -> None:
    deployment.tenancy.principals.put("acme", [ROLE])


SIGNED, EITHER = "list_bedrock_models", "audit_log"  # doors that take a signature, and a signature or a key


def asked(door: str, arn: str | None = None, key: str | None = None) -> tuple[Route, Incoming]:
    """A request at the door with that name."""
    (route,) = [route for route in ROUTES if route.name == door]
    identity = {"sourceIp": "192.0.2.7"} | ({"userArn": arn} if arn else {})
    headers = {} if key is None else {"X-API-Key": key}
    event: dict[str, Any] = {"httpMethod": "GET", "headers": headers, "requestContext": {"identity": identity}}
    return route, incoming(event, route, 0, Ids("id", UNTRACED))


def signed(arn: str | None = None, key: str | None = None) -> Caller:
    caller = let_in(*asked(SIGNED, arn, key))
    assert isinstance(caller, Caller)
    return caller


def signed_or_keyed(arn: str | None = None, key: str | None = None) -> Caller:
    caller = let_in(*asked(EITHER, arn, key))
    assert isinstance(caller, Caller)
    return caller


def test_a_request_knows_who_signed_it_and_where_it_came_from() -> None:
    route, request = asked(SIGNED, SESSION)
    assert (request.credential, request.source_ip) == (Signed(SESSION), "192.0.2.7")
    bare = incoming({"httpMethod": "GET", "requestContext": {}}, route, 0, Ids("id", UNTRACED))
    assert (bare.credential, bare.source_ip) == (None, "")


@pytest.mark.parametrize("route", [route for route in ROUTES if route.auth in ("key", "none")], ids=lambda r: r.name)
def test_a_signature_that_no_door_asked_for_lets_nobody_in(route: Route, deployment: Deployment) -> None:
    event: dict[str, Any] = {
        "httpMethod": route.method,
        "headers": {},
        "pathParameters": {"tenant": "acme"},
        "requestContext": {"identity": {"userArn": SESSION}},
    }
    request = incoming(event, route, 0, Ids("id", UNTRACED))
    assert not isinstance(request.credential, Signed)
    if route.held is not None:
        with pytest.raises(Unauthenticated):
            let_in(route, request)


def test_an_empty_key_is_a_wrong_one_and_not_none() -> None:
    assert asked("attest", key="")[1].credential == ApiKey("")
    assert asked("attest")[1].credential == Sealer()


def test_a_signature_stands_for_its_principals_tenant() -> None:
    for principal, snapshot in (signed(SESSION), signed_or_keyed(SESSION)):
        assert (principal.tenant, principal.subject, snapshot.tenant.id) == ("acme", SESSION, "acme")


def test_a_change_of_principals_counts_on_the_next_request(deployment: Deployment) -> None:
    signed(SESSION)
    deployment.tenancy.principals.put("acme", [])
    with pytest.raises(Forbidden, match="belongs to no tenant"):
        signed(SESSION)
    deployment.tenancy.principals.put("bolt", [ROLE])
    assert signed(SESSION)[0].tenant == "bolt"
    deployment.tenancy.change_tenant("bolt", Change(status="suspended"))
    with pytest.raises(Forbidden, match="suspended"):
        signed(SESSION)


def test_where_a_signature_is_needed_no_key_will_do(deployment: Deployment) -> None:
    for key in (None, deployment.key("acme")):
        with pytest.raises(Forbidden, match="Sign this request"):
            signed(key=key)


def test_where_a_key_will_do_it_must_hold_the_permission_and_reach_the_surface(deployment: Deployment) -> None:
    def by_key(key: str | None) -> str:
        return signed_or_keyed(key=key)[0].tenant

    assert by_key(deployment.key("acme", "analyst")) == "acme"
    with pytest.raises(Forbidden, match=r"usage\.read"):
        by_key(deployment.key("acme", "viewer"))
    with pytest.raises(Forbidden, match="limited to"):
        by_key(deployment.key("acme", surfaces=("openai",)))
    with pytest.raises(Unauthenticated):
        by_key(None)


def test_a_key_does_not_help_a_signer_whom_no_tenant_knows(deployment: Deployment) -> None:
    with pytest.raises(Forbidden, match="belongs to no tenant"):
        signed_or_keyed(f"{ROLE}-2", deployment.key("acme"))
