"""Who comes in by a signature, by a key, or not at all."""

from typing import Any

import pytest

from chalicelib.http.callers import Caller, let_in
from chalicelib.http.incoming import Incoming, incoming
from chalicelib.http.surface import ROUTES
from chalicelib.refusal import Forbidden, Unauthenticated
from chalicelib.tenancy import Change
from tests.deployments import Deployment

ROLE = "arn:aws-us-gov:iam::111122223333:role/app"
SESSION = "arn:aws-us-gov:sts::111122223333:assumed-role/app/one"


@pytest.fixture(autouse=True)
def _principals(deployment: Deployment) -> None:
    deployment.tenancy.principals.put("acme", [ROLE])


def asked(arn: str | None = None, key: str | None = None) -> Incoming:
    identity = {"sourceIp": "192.0.2.7"} | ({"userArn": arn} if arn else {})
    headers = {"X-API-Key": key} if key else {}
    event: dict[str, Any] = {"httpMethod": "GET", "headers": headers, "requestContext": {"identity": identity}}
    return incoming(event, 0, "id", 1_000)


def let_in_by(name: str, request: Incoming) -> Caller:
    """At the door with that name."""
    (route,) = [route for route in ROUTES if route.name == name]
    caller = let_in(route, request)
    assert caller is not None
    return caller


def signed(request: Incoming) -> Caller:
    return let_in_by("list_bedrock_models", request)


def signed_or_keyed(request: Incoming) -> Caller:
    return let_in_by("audit_log", request)


def test_a_request_knows_who_signed_it_and_where_it_came_from() -> None:
    request = asked(SESSION)
    assert (request.iam_arn, request.source_ip) == (SESSION, "192.0.2.7")
    bare = incoming({"httpMethod": "GET", "requestContext": {}}, 0, "id", 1_000)
    assert (bare.iam_arn, bare.source_ip) == (None, "")


def test_a_signature_stands_for_its_principals_tenant() -> None:
    for principal, snapshot in (signed(asked(SESSION)), signed_or_keyed(asked(SESSION))):
        assert (principal.tenant, principal.subject, snapshot.tenant.id) == ("acme", SESSION, "acme")


def test_a_change_of_principals_counts_on_the_next_request(deployment: Deployment) -> None:
    signed(asked(SESSION))
    deployment.tenancy.principals.put("acme", [])
    with pytest.raises(Forbidden, match="belongs to no tenant"):
        signed(asked(SESSION))
    deployment.tenancy.principals.put("bolt", [ROLE])
    assert signed(asked(SESSION))[0].tenant == "bolt"
    deployment.tenancy.change_tenant("bolt", Change(status="suspended"))
    with pytest.raises(Forbidden, match="suspended"):
        signed(asked(SESSION))


def test_where_a_signature_is_needed_no_key_will_do(deployment: Deployment) -> None:
    for request in (asked(), asked(key=deployment.key("acme"))):
        with pytest.raises(Forbidden, match="Sign this request"):
            signed(request)


def test_where_a_key_will_do_it_must_hold_the_permission_and_reach_the_surface(deployment: Deployment) -> None:
    def by_key(key: str | None) -> str:
        return signed_or_keyed(asked(key=key))[0].tenant

    assert by_key(deployment.key("acme", "analyst")) == "acme"
    with pytest.raises(Forbidden, match=r"usage\.read"):
        by_key(deployment.key("acme", "viewer"))
    with pytest.raises(Forbidden, match="limited to"):
        by_key(deployment.key("acme", surfaces=("openai",)))
    with pytest.raises(Unauthenticated):
        by_key(None)


def test_a_key_does_not_help_a_signer_whom_no_tenant_knows(deployment: Deployment) -> None:
    with pytest.raises(Forbidden, match="belongs to no tenant"):
        signed_or_keyed(asked(f"{ROLE}-2", deployment.key("acme")))
