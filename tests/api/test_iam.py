"""The admin surface and signed requests, where no API Gateway checks them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.tenancy import PLATFORM_TENANT
from emulators.iam.signature import MISMATCH
from tests.api.signing import CLOCK, OWNER, signed
from tests.small_deployments import Answer, Deployment, Gateway, front, served


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    yield
    CLOCK.ahead_ms = 0


def call(gateway: Gateway, method: str, path: str, body: bytes = b"", **how: Any) -> Answer:
    headers = signed(method, f"http://{gateway.host}:{gateway.port}{path}", body, **how)
    return gateway.call(method, path, body=body or None, headers=headers)


def test_a_signed_request_needs_no_key(gateway: Gateway, deployment: Deployment) -> None:
    assert [tenant["id"] for tenant in call(gateway, "GET", "/admin/tenants").json["tenants"]] == [
        "acme",
        "bolt",
        PLATFORM_TENANT,
    ]
    json_headers = {"Content-Type": "application/json"}
    made = call(gateway, "POST", "/admin/tenants", b'{"id":"cora","name":"Cora"}', headers=json_headers)
    assert (made.status, deployment.tenancy.tenant("cora").name) == (201, "Cora")
    assert call(gateway, "PATCH", "/admin/tenants/cora", b'{"priority":1}', headers=json_headers).status == 200


def test_an_unsigned_request_needs_an_owner_key_of_the_platform(gateway: Gateway, deployment: Deployment) -> None:
    assert gateway.call("GET", "/admin/tenants", key=deployment.key(PLATFORM_TENANT)).status == 200
    assert gateway.call("GET", "/admin/tenants").status == 401


WRONG: dict[str, dict[str, Any]] = {
    "another secret": {"secret": "guessed"},
    "another region": {"region": "eu-west-1"},
    "another service": {"service": "dynamodb"},
    "an unknown key": {"key_id": "AKIAEXAMPLESOMEBODY0"},
    "a session that was never given out": {"token": "session"},
}


@pytest.mark.parametrize("how", WRONG.values(), ids=WRONG)
def test_a_request_that_is_signed_wrongly_is_refused_as_api_gateway_does(
    gateway: Gateway, deployment: Deployment, how: dict[str, Any]
) -> None:
    answer = call(gateway, "GET", "/admin/tenants", **how)
    assert answer.status == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["type"] == "/problems/permission-denied"
    assert answer.json["request_id"] == answer.headers["x-request-id"] != ""
    assert "guessed" not in answer.body.decode()


@pytest.mark.parametrize(("ahead_ms", "status"), [(290_000, 200), (310_000, 403), (-290_000, 200), (-310_000, 403)])
def test_a_signature_is_good_for_five_minutes(
    gateway: Gateway, deployment: Deployment, ahead_ms: int, status: int
) -> None:
    CLOCK.ahead_ms = ahead_ms
    assert call(gateway, "GET", "/admin/tenants").status == status


def test_a_wrong_signature_is_not_made_good_by_a_good_key(gateway: Gateway, deployment: Deployment) -> None:
    headers = signed("GET", f"http://{gateway.host}:{gateway.port}/admin/tenants", secret="guessed")
    headers["X-API-Key"] = deployment.key(PLATFORM_TENANT)
    assert gateway.call("GET", "/admin/tenants", headers=headers).status == 403


def test_a_body_that_was_changed_on_the_way_is_refused_and_does_nothing(
    gateway: Gateway, deployment: Deployment
) -> None:
    url = f"http://{gateway.host}:{gateway.port}/admin/tenants/acme"
    headers = signed("PATCH", url, b'{"priority":1}', {"Content-Type": "application/json"})
    answer = gateway.call("PATCH", "/admin/tenants/acme", body=b'{"priority":2}', headers=headers)
    assert (answer.status, answer.json["detail"]) == (403, MISMATCH)
    assert deployment.tenancy.tenant("acme").priority == 5


def test_a_signed_body_that_is_too_large_is_too_large(gateway: Gateway, deployment: Deployment) -> None:
    assert call(gateway, "POST", "/admin/tenants", b" " * 6_000_001).status == 413


def test_nobody_becomes_an_operator_by_a_header(gateway: Gateway, deployment: Deployment) -> None:
    """The header that the Lambda Web Adapter sets is, anywhere else, a client's own."""
    spoofed = json.dumps({"identity": {"userArn": OWNER.arn, "accountId": OWNER.account}})
    for headers in ({"x-amzn-request-context": spoofed}, {"X-Amzn-Request-Context": spoofed, "userArn": OWNER.arn}):
        assert gateway.call("GET", "/admin/tenants", headers=headers).status == 401
        key = deployment.key("acme")
        assert gateway.call("GET", "/admin/tenants", key=key, headers=headers).status == 403
        assert gateway.call("GET", "/tenants/bolt", key=key, headers=headers).status == 404


def test_a_signature_means_nothing_to_a_tenants_own_routes(gateway: Gateway, deployment: Deployment) -> None:
    assert call(gateway, "GET", "/tenants/acme").status == 401


def test_without_the_stand_in_a_signature_means_nothing(deployment: Deployment) -> None:
    """As on Lambda, where API Gateway has checked it before: only what API Gateway says counts."""
    with served(front()) as gateway:
        assert call(gateway, "GET", "/admin/tenants").status == 401
        assert gateway.call("GET", "/admin/tenants", key=deployment.key(PLATFORM_TENANT)).status == 200
