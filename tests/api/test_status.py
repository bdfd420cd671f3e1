"""The status page at its doors: public, cheap, and never more sure than what was measured."""

import re
from typing import Any

import pytest

from chalicelib import schedules, wiring
from chalicelib.status.board import FRESH_MS
from chalicelib.tenancy import PLATFORM_TENANT
from tests.small_deployments import Deployment, Gateway

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
MODEL_A = {"id": "model-a", "name": "Model A", "watches": "pools", "pools": ["model-a"]}
SEALING = {"id": "sealing", "name": "Sealed <requests>", "watches": "nothing"}


@pytest.fixture
def operator(deployment: Deployment) -> str:
    return deployment.key(PLATFORM_TENANT)


@pytest.fixture
def watched(gateway: Gateway, operator: str) -> None:
    sent = gateway.call("PUT", "/admin/status/components", key=operator, json={"components": [MODEL_A, SEALING]})
    assert sent.status == 200, sent.body


def status(gateway: Gateway, deployment: Deployment) -> Any:
    """As it is now, whatever was said a moment ago."""
    deployment.clock.now_ms += FRESH_MS
    answer = gateway.call("GET", "/status")
    assert answer.status == 200
    return answer.json


def test_before_anything_was_measured_nothing_is_known(gateway: Gateway, deployment: Deployment) -> None:
    told = status(gateway, deployment)
    assert (told["status"], told["components"]) == ("unknown", [])


@pytest.mark.usefixtures("watched")
def test_what_the_schedule_measures_is_shown_and_a_gap_is_not_known(gateway: Gateway, deployment: Deployment) -> None:
    schedules.ask_targets()
    deployment.clock.now_ms += 3 * 60_000
    schedules.ask_targets()
    deployment.clock.now_ms += 60_000
    told = status(gateway, deployment)
    model, sealing = told["components"]
    assert (told["status"], model["status"], sealing["status"]) == ("up", "up", "unknown")
    today = model["days"][-1]
    assert (today["up"], today["down"]) == (2, 0)
    assert today["unknown"] == deployment.clock.now_ms % 86_400_000 // 60_000 - 2
    assert gateway.call("GET", "/status.json").json == gateway.call("GET", "/status").json


@pytest.mark.usefixtures("watched")
def test_an_incident_is_told_and_resolved(gateway: Gateway, deployment: Deployment, operator: str) -> None:
    new = {"title": "Wrong <answers>", "text": "We look.\n</li><script>alert(1)</script>", "components": ["sealing"]}
    made = gateway.call("POST", "/admin/status/incidents", key=operator, json=new)
    assert made.status == 201, made.body
    assert status(gateway, deployment)["components"][1]["status"] == "degraded"
    page = gateway.call("GET", "/status", headers=BROWSER).body.decode()
    assert "Wrong &lt;answers&gt;" in page
    assert "We look.<br>&lt;/li&gt;&lt;script&gt;" in page
    updates = f"/admin/status/incidents/{made.json['id']}/updates"
    told = gateway.call("POST", updates, key=operator, json={"step": "resolved", "text": "Well."})
    assert (told.status, len(told.json["updates"])) == (201, 2)
    assert status(gateway, deployment)["incidents"][0]["updates"][1]["step"] == "resolved"
    events = gateway.call("GET", f"/admin/tenants/{PLATFORM_TENANT}/events", key=operator).json["events"]
    assert {"open_incident", "update_incident", "put_components"} <= {event["action"] for event in events}


@pytest.mark.usefixtures("watched")
def test_maintenance_is_announced_shown_and_taken_back(gateway: Gateway, deployment: Deployment, operator: str) -> None:
    begins_ms = deployment.clock.now_ms + 3_600_000
    window: dict[str, Any] = {"title": "New GPUs", "text": "Soon.", "components": ["model-a"]}
    window |= {"begins_ms": begins_ms, "ends_ms": begins_ms + 60_000}
    made = gateway.call("POST", "/admin/status/maintenance", key=operator, json=window)
    assert made.status == 201, made.body
    assert status(gateway, deployment)["maintenance"][0]["title"] == "New GPUs"
    assert "New GPUs" in gateway.call("GET", "/status", headers=BROWSER).body.decode()
    one = f"/admin/status/maintenance/{made.json['id']}"
    assert gateway.call("DELETE", one, key=operator).status == 204
    assert gateway.call("DELETE", one, key=operator).status == 404
    assert status(gateway, deployment)["maintenance"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": "two\nlines", "text": "x"},
        {"title": " ", "text": "x"},
        {"title": "x", "text": "y" * 1_001},
        {"title": "x", "text": "\x1b[2J"},
        {"title": "x", "text": "y", "components": ["nothing-such"]},
    ],
)
def test_what_would_not_fit_into_a_line_or_a_page_is_refused(
    gateway: Gateway, operator: str, wrong: dict[str, Any]
) -> None:
    assert gateway.call("POST", "/admin/status/incidents", key=operator, json=wrong).status == 400


@pytest.mark.usefixtures("watched")
def test_the_page_needs_no_script_and_says_in_words_what_it_shows(gateway: Gateway, deployment: Deployment) -> None:
    schedules.ask_targets()
    deployment.clock.now_ms += 60_000 + FRESH_MS
    answer = gateway.call("GET", "/status", headers=BROWSER)
    page = answer.body.decode()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"<script|https?://|\bon[a-z]+=|style=", page)
    assert "script" not in answer.headers["content-security-policy"]
    assert not re.search(r"unsafe|https?:|\*", answer.headers["content-security-policy"])
    assert re.search(
        r'<svg role="img" aria-label="Model A, the last 90 days: 100.00 % up where measured; 0.00 % of all minutes',
        page,
    )
    assert "Sealed &lt;requests&gt;" in page
    assert "Not measured: only incidents tell how it is." in page
    assert "2026-11-18 11:07 UTC" in page
    for link in re.findall(r'(?:href|src)="([^"]*)"', page):
        assert link == "data:," or gateway.call("GET", link).status == 200, link


def test_caches_keep_it_for_seconds_each_form_for_itself(gateway: Gateway, deployment: Deployment) -> None:
    for headers in ({}, BROWSER):
        answer = gateway.call("GET", "/status", headers=headers)
        assert (answer.headers["cache-control"], answer.headers["vary"]) == ("public, max-age=10", "Accept")


def test_where_nobody_keeps_how_it_stood_there_is_no_page(gateway: Gateway, deployment: Deployment) -> None:
    rooms = wiring.rooms()
    with wiring.opening_into(
        wiring.Rooms(rooms.path, rooms.tenancy, rooms.heads, rooms.journal, rooms.reports, rooms.models)
    ):
        assert gateway.call("GET", "/status").status == 404
        schedules.ask_targets()
