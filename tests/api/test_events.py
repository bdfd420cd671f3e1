"""Whatever is changed stands in the log of whose it is: who, what, when and from where. A door more is here, too."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.journal import Journal, log_of
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.ledger.records import Kept
from chalicelib.refusal import StoreUnavailable
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.key_text import parse
from tests.api import signing
from tests.api.test_permissions import ADMINS, TABLE, TENANTS, Caller
from tests.small_deployments import T0, Deployment, Gateway

CHANGING = [route for route in (*TENANTS, *ADMINS) if TABLE[route].for_narrowed != "within"]
OTHERS = [route for route in (*TENANTS, *ADMINS) if TABLE[route].for_narrowed == "within"]
OPERATOR = "arn:aws:iam::111122223333:role/operator"


class Refusing(MemoryLedger):
    """A ledger that takes so many more links of events, and then does not answer."""

    def __init__(self, links: int) -> None:
        super().__init__()
        self._links = links

    def append(self, log: str, lease_id: str, text: str, at_ms: int, expires_s: int) -> Kept | None:
        self._links -= 1
        if self._links < 0:
            raise StoreUnavailable("closed")
        return super().append(log, lease_id, text, at_ms, expires_s)


@pytest.fixture
def caller(gateway: Gateway, deployment: Deployment) -> Iterator[Caller]:
    caller = Caller(gateway, deployment)
    with wiring.opening_into(deployment.rooms()):
        yield caller


def events(gateway: Gateway, key: str, tenant: str = "acme", query: str = "") -> Any:
    answer = gateway.call("GET", f"/tenants/{tenant}/events{query}", key=key)
    assert answer.status == 200, answer.body
    return answer.json["events"]


def texts(deployment: Deployment, tenant: str) -> list[str]:
    """All that is kept of a tenant's events, newest first."""
    kept, _ = deployment.store.ledger.kept(log_of(tenant), 0, T0 * 2, None, 1_000)
    return [each.text for each in kept]


@pytest.mark.parametrize("route", CHANGING)
def test_every_door_that_changes_something_leaves_one_event(caller: Caller, route: str) -> None:
    operates = route in ADMINS
    tenant = PLATFORM_TENANT if operates else "acme"
    key = caller.deployment.key(tenant)
    answer = caller(route, key)
    (event,) = events(caller.gateway, caller.deployment.key(tenant), tenant)
    told = parse(key)
    assert told is not None
    assert event["who"]["subject"] == f"key:{told.key_id}"
    assert (event["status"], event["request_id"], event["at_ms"]) == (answer.status, "fixed", T0)
    assert event["who"]["source_ip"] == "127.0.0.1"
    if operates and "{tenant}" in route:
        assert events(caller.gateway, caller.deployment.key("acme")) == [event]


@pytest.mark.parametrize("route", OTHERS)
def test_no_other_door_writes_any(caller: Caller, route: str) -> None:
    tenant = PLATFORM_TENANT if route in ADMINS else "acme"
    caller(route, caller.deployment.key(tenant))
    assert texts(caller.deployment, "acme") == texts(caller.deployment, PLATFORM_TENANT) == []


def test_an_event_names_what_was_made_and_holds_no_secret(gateway: Gateway, deployment: Deployment) -> None:
    key = deployment.key()
    made = gateway.call("POST", "/tenants/acme/keys", key=key, json={"role": "viewer", "label": "canary"}).json
    (event,) = events(gateway, key)
    assert (event["action"], event["object"], event["made"]) == ("create_key", "", made["key"]["id"])
    kept = "".join(texts(deployment, "acme"))
    assert made["api_key"].rpartition("_")[2] not in kept and "canary" not in kept and key not in kept


def test_an_operator_who_signs_is_named_in_the_log_of_the_tenant_and_of_the_platform(
    gateway: Gateway, deployment: Deployment
) -> None:
    deployment.clock.now_ms += 1
    answer = signing.call(gateway, "DELETE", "/admin/tenants/acme/principals", b"", {})
    assert answer.status == 204, answer.body
    for tenant in ("acme", PLATFORM_TENANT):
        (event,) = events(gateway, deployment.key(tenant), tenant)
        assert (event["tenant"], event["action"]) == ("acme", "delete_principals")
        assert (event["who"]["tenant"], event["who"]["proof"]) == (PLATFORM_TENANT, "iam")
        assert event["who"]["subject"].startswith("arn:")


def test_what_was_refused_is_told_with_its_status(gateway: Gateway, deployment: Deployment) -> None:
    key = deployment.key()
    assert gateway.call("DELETE", "/tenants/acme/members/nobody", key=key).status == 404
    (event,) = events(gateway, key)
    assert (event["action"], event["object"], event["status"]) == ("remove_member", "nobody", 404)


def test_whoever_may_not_change_it_leaves_no_event(gateway: Gateway, deployment: Deployment) -> None:
    for key, tenant in ((deployment.key("acme", "viewer"), "acme"), (deployment.key("bolt"), "acme"), ("ck_x", "acme")):
        answer = gateway.call("PUT", f"/tenants/{tenant}/members/ada", key=key, json={"role": "owner"})
        assert answer.status in (401, 403, 404)
    assert texts(deployment, "acme") == []


def test_nothing_is_kept_under_the_name_of_a_tenant_that_there_is_not(gateway: Gateway, deployment: Deployment) -> None:
    key = deployment.key(PLATFORM_TENANT)
    answer = gateway.call("PATCH", "/admin/tenants/cora", key=key, json={"priority": 1})
    assert answer.status == 404
    assert texts(deployment, "cora") == texts(deployment, PLATFORM_TENANT) == []


def test_nothing_is_changed_where_the_log_cannot_be_written(gateway: Gateway, deployment: Deployment) -> None:
    key = deployment.key()
    with wiring.opening_into(_with(deployment, Refusing(0))):
        answer = gateway.call("PUT", "/tenants/acme/members/ada", key=key, json={"role": "owner"})
    assert answer.status == 503
    assert not deployment.tenancy.people.members("acme")


def test_what_was_changed_is_answered_though_its_end_is_lost_which_is_counted(
    gateway: Gateway, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    key, log = deployment.key(), Refusing(1)
    with wiring.opening_into(_with(deployment, log)):
        answer = gateway.call("PUT", "/tenants/acme/members/ada", key=key, json={"role": "owner"})
        (event,) = events(gateway, key)
    assert answer.status == 200
    assert (event["action"], event["object"], event["status"]) == ("put_member", "ada", None)
    assert capsys.readouterr().out.count('"ChangeUnended":1') == 1


def test_pages_together_are_the_whole_log_newest_first(gateway: Gateway, deployment: Deployment) -> None:
    key = deployment.key()
    for number in range(5):
        deployment.clock.now_ms += 1
        gateway.call("PUT", f"/tenants/acme/members/m{number}", key=key, json={"role": "viewer"})
    found, cursor = [], ""
    while cursor is not None:
        page = gateway.call("GET", f"/tenants/acme/events?limit=2{cursor and f'&cursor={cursor}'}", key=key).json
        found += [event["object"] for event in page["events"]]
        cursor = page["cursor"]
    assert found == [f"m{number}" for number in reversed(range(5))]
    assert [event["object"] for event in events(gateway, key, query=f"?since_ms={T0 + 2}&until_ms={T0 + 4}")] == [
        "m2",
        "m1",
    ]


def test_an_auditor_gets_the_log_byte_for_byte(gateway: Gateway, deployment: Deployment) -> None:
    key = deployment.key()
    gateway.call("PUT", "/tenants/acme/members/ada", key=key, json={"role": "viewer"})
    page = gateway.call("GET", "/tenants/acme/audit/entries?day=2026-11-18&log=events", key=key).json
    assert [entry["text"] for entry in page["entries"]] == texts(deployment, "acme")
    assert [entry["link"]["seq"] for entry in page["entries"]] == [2, 1]
    assert gateway.call("GET", "/tenants/acme/audit/entries?day=2026-11-18", key=key).json["entries"] == []


def _with(deployment: Deployment, log: MemoryLedger) -> wiring.Rooms:
    rooms = deployment.rooms()
    journal = Journal(log, deployment.clock, deployment.chance)
    return msgspec.structs.replace(rooms, journal=journal)
