"""In an emergency an operator comes to a tenant's things: named beforehand, for an hour at most, and never unseen."""

import json
from typing import Any

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.settings import BadSettings, Settings, read
from chalicelib.tenancy import PLATFORM_TENANT
from tests.api import signing
from tests.small_deployments import T0, Answer, Deployment, Gateway

PATH = "/admin/tenants/acme/break-glass"
REASON = "The only owner has left; their invoice is due."
MINUTE_MS = 60_000


def broken(gateway: Gateway, **body: Any) -> Answer:
    asked = msgspec.json.encode({"reason": REASON, **body})
    return signing.call(gateway, "POST", PATH, asked, {"Content-Type": "application/json", "X-Request-ID": "r-911"})


def open_to(deployment: Deployment, principals: str) -> wiring.Rooms:
    settings = Settings(break_glass_principals=principals)
    return deployment.rooms(msgspec.structs.replace(deployment.path(), settings=settings))


def test_the_key_is_an_owners_until_its_time_is_over(gateway: Gateway, deployment: Deployment) -> None:
    made = broken(gateway, minutes=15).json
    assert (made["key"]["role"], made["key"]["expires_ms"]) == ("owner", T0 + 15 * MINUTE_MS)
    assert gateway.call("GET", "/tenants/acme/members", key=made["api_key"]).status == 200
    deployment.clock.now_ms += 15 * MINUTE_MS
    assert gateway.call("GET", "/tenants/acme/members", key=made["api_key"]).status == 401


def test_where_its_holder_calls_from_the_operator_says_and_not_the_tenant(
    gateway: Gateway, deployment: Deployment
) -> None:
    deployment.tenancy.sources.put("acme", ("192.0.2.0/24",))
    key = broken(gateway).json["api_key"]
    made = gateway.call("POST", "/tenants/acme/keys", key=key, json={"role": "owner", "expires_in_s": 60}).json[
        "api_key"
    ]
    calls = [gateway.call("GET", "/tenants/acme/keys", key=each).status for each in (key, made, deployment.key())]
    assert calls == [200, 403, 403], "what it makes is a key as any other"
    deployment.tenancy.sources.put(PLATFORM_TENANT, ("192.0.2.0/24",))
    assert gateway.call("GET", "/tenants/acme/keys", key=key).status == 403


def test_nothing_that_it_changes_outlasts_it(gateway: Gateway, deployment: Deployment) -> None:
    key = broken(gateway).json["api_key"]
    assert gateway.call("PUT", "/tenants/acme/members/me", key=key, json={"role": "owner"}).status == 403
    assert gateway.call("POST", "/tenants/acme/keys", key=key, json={"role": "owner"}).status == 403
    hour = {"role": "owner", "expires_in_s": 3_600}
    assert gateway.call("POST", "/tenants/acme/keys", key=key, json=hour).status == 201


@pytest.mark.parametrize(
    "body", [{"minutes": 61}, {"minutes": 0}, {"reason": "short"}, {"reason": "x" * 501}, {"reason": "one line\nand"}]
)
def test_it_takes_a_reason_and_an_hour_at_most(gateway: Gateway, deployment: Deployment, body: dict[str, Any]) -> None:
    answer = broken(gateway, **body)
    assert (answer.status, answer.json["field"]) == (400, next(iter(body)))
    assert not deployment.tenancy.keys("acme")


def test_the_tenant_sees_it_among_its_keys_and_ends_it(gateway: Gateway, deployment: Deployment) -> None:
    made, owner = broken(gateway).json, deployment.key()
    (shown,) = [key for key in gateway.call("GET", "/tenants/acme/keys", key=owner).json["keys"] if key["label"]]
    assert (shown["id"], shown["label"]) == (made["key"]["id"], f"break-glass: {REASON}")
    assert gateway.call("DELETE", f"/tenants/acme/keys/{shown['id']}", key=owner).status == 200
    assert gateway.call("GET", "/tenants/acme/members", key=made["api_key"]).status == 401


def test_who_and_why_stand_in_the_events_of_the_tenant_and_of_the_platform(
    gateway: Gateway, deployment: Deployment
) -> None:
    made = broken(gateway).json
    for tenant in ("acme", PLATFORM_TENANT):
        answer = gateway.call("GET", f"/tenants/{tenant}/events", key=deployment.key(tenant))
        (event,) = answer.json["events"]
        assert (event["action"], event["reason"], event["status"]) == ("break_glass", REASON, 201)
        assert (event["who"]["subject"], event["who"]["proof"]) == (signing.OWNER.arn, "iam")
        assert (event["made"], event["tenant"], event["request_id"]) == (made["key"]["id"], "acme", "r-911")
        assert made["api_key"].rpartition("_")[2].encode() not in answer.body


def test_it_is_counted_where_an_alarm_looks(
    gateway: Gateway, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    made = broken(gateway).json
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"BreakGlass":1' in line]
    assert (line["tenant"], line["operator"], line["key"]) == ("acme", signing.OWNER.arn, made["key"]["id"])
    assert REASON not in str(line) and made["api_key"] not in str(line)


@pytest.mark.parametrize("named", ["", "arn:aws:iam::123456789012:user/another,arn:aws:iam::123456789012:role/ops"])
def test_whom_the_deployment_does_not_name_it_refuses(gateway: Gateway, deployment: Deployment, named: str) -> None:
    with wiring.opening_into(open_to(deployment, named)):
        assert broken(gateway).status == 403
    assert not deployment.tenancy.keys("acme")


def test_nobody_comes_in_by_a_key_not_even_the_operators_own(gateway: Gateway, deployment: Deployment) -> None:
    for tenant in ("acme", PLATFORM_TENANT):
        answer = gateway.call("POST", PATH, key=deployment.key(tenant), json={"reason": REASON})
        assert answer.status == 403


def test_a_name_that_is_no_principal_is_found_at_the_start() -> None:
    with pytest.raises(BadSettings, match="CLOISTER_BREAK_GLASS_PRINCIPALS"):
        read({"CLOISTER_BREAK_GLASS_PRINCIPALS": "ops"})
