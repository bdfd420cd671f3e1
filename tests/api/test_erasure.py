"""Owners have everything of their tenant erased, and read with the one key that is left what becomes of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.privacy.asking import RECEIPT_DAYS
from chalicelib.tenancy import PLATFORM_TENANT
from tests.api.begun import begun
from tests.small_deployments import T0, Answer, Deployment, Gateway

PATH = "/tenants/acme/data"
CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def owner(deployment: Deployment) -> Iterator[str]:
    """Whose key was made before it is used."""
    key = deployment.key()
    deployment.clock.now_ms += 1
    yield key


def erased(gateway: Gateway, owner: str) -> Any:
    answer = gateway.call("DELETE", f"{PATH}?confirm=acme", key=owner)
    assert answer.status == 202, answer.body
    return answer.json


def as_operator(gateway: Gateway, deployment: Deployment, method: str, path: str, body: Any = None) -> Answer:
    return gateway.call(method, path, key=deployment.key(PLATFORM_TENANT), json=body)


@pytest.mark.parametrize("confirm", ["", "?confirm=", "?confirm=bolt"])
def test_nothing_is_erased_by_a_slip(gateway: Gateway, owner: str, confirm: str) -> None:
    answer = gateway.call("DELETE", f"{PATH}{confirm}", key=owner)
    assert (answer.status, "confirm=acme" in answer.json["detail"]) == (400, True)
    assert gateway.call("GET", "/tenants/acme", key=owner).status == 200


def test_from_the_next_request_on_nothing_of_the_tenant_opens_or_runs(
    gateway: Gateway, deployment: Deployment, owner: str
) -> None:
    other, secret = deployment.key(role="developer"), begun(deployment)[1].text
    deployment.clock.now_ms += 1
    assert gateway.call("POST", "/tenants/acme/v1/chat/completions", key=other, json=CHAT).status == 200
    erased(gateway, owner)
    for key in (owner, other):
        assert gateway.call("POST", "/tenants/acme/v1/chat/completions", key=key, json=CHAT).status == 403
        assert gateway.call("GET", "/tenants/acme", key=key).status == 403
    headers = {"Cookie": f"cloister-session={secret}"}
    assert gateway.call("GET", "/tenants/acme/sessions", headers=headers).status in (401, 403)
    bolt = deployment.key("bolt")
    assert gateway.call("POST", "/tenants/bolt/v1/chat/completions", key=bolt, json=CHAT).status == 200


def test_the_key_that_is_given_reads_the_report_and_the_audit_and_does_nothing_else(
    gateway: Gateway, deployment: Deployment, owner: str
) -> None:
    made = erased(gateway, owner)
    report, key = made["erasure"], made["api_key"]
    assert (report["state"], report["asked_ms"], len(report["pending"])) == ("waiting", T0 + 1, 1)
    assert gateway.call("GET", f"{PATH}/{report['job']}", key=key).json == report
    assert gateway.call("GET", "/tenants/acme/audit/heads?day=2026-11-18", key=key).status == 200
    assert gateway.call("GET", f"{PATH}/another", key=key).status == 404
    for method, path in (("GET", "/tenants/acme"), ("GET", "/tenants/acme/keys"), ("DELETE", f"{PATH}?confirm=acme")):
        assert gateway.call(method, path, key=key).status == 403
    assert gateway.call("POST", "/tenants/acme/v1/chat/completions", key=key, json=CHAT).status == 403
    deployment.clock.now_ms += RECEIPT_DAYS * 86_400_000
    assert gateway.call("GET", f"{PATH}/{report['job']}", key=key).status == 401


def test_what_is_erased_is_not_opened_again(gateway: Gateway, deployment: Deployment, owner: str) -> None:
    erased(gateway, owner)
    for method, path, body in (
        ("POST", "/admin/tenants/acme/keys", {"role": "owner"}),
        ("PATCH", "/admin/tenants/acme", {"status": "active"}),
        ("POST", "/admin/tenants", {"id": "acme", "name": "Another"}),
    ):
        assert as_operator(gateway, deployment, method, path, body).status == 409


def test_the_operator_lists_all_and_asks_again_where_a_report_cannot_be_read(
    gateway: Gateway, deployment: Deployment, owner: str
) -> None:
    first = erased(gateway, owner)
    again = as_operator(gateway, deployment, "DELETE", "/admin/tenants/acme/data?confirm=acme")
    assert again.status == 202, again.body
    listed = as_operator(gateway, deployment, "GET", "/admin/erasures").json["erasures"]
    assert [(each["tenant"], each["job"]) for each in listed] == [("acme", again.json["erasure"]["job"])]
    assert gateway.call("GET", f"{PATH}/{listed[0]['job']}", key=again.json["api_key"]).status == 200
    assert gateway.call("GET", f"{PATH}/{first['erasure']['job']}", key=first["api_key"]).status == 404


def test_the_platforms_own_tenant_is_not_erased(gateway: Gateway, deployment: Deployment) -> None:
    path = f"/tenants/{PLATFORM_TENANT}/data?confirm={PLATFORM_TENANT}"
    assert gateway.call("DELETE", path, key=deployment.key(PLATFORM_TENANT)).status == 409


def test_it_stands_in_the_events_until_they_are_erased_too(
    gateway: Gateway, deployment: Deployment, owner: str
) -> None:
    job = erased(gateway, owner)["erasure"]["job"]
    events = as_operator(gateway, deployment, "GET", "/admin/tenants/acme/events").json["events"]
    assert [(each["action"], each["made"], each["status"]) for each in events] == [("erase_data", job, 202)]
