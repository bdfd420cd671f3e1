"""`/health` tells the truth."""

import json
import os
import signal

import pytest
from openai import InternalServerError

from tests.e2e.admin import admin, http, new_tenant
from tests.e2e.test_openai_sdk import QUESTION, client
from tests.local_system import RunningSystem
from tests.patience import until


def health(system: RunningSystem) -> tuple[int, dict[str, object]]:
    status, _, body = http("GET", f"{system.base_url}/health")
    return status, json.loads(body)


def test_a_running_system_is_healthy(running_system: RunningSystem) -> None:
    body = _await_health(running_system, 200, "healthy")  # a multi-model endpoint loads its model when first asked
    # Four places each: three containers, whatever number of ways lead to them, and three models of Bedrock.
    assert body["total_capacity"] == 24
    assert set(body) == {
        *("status", "region", "available_capacity", "total_capacity", "avg_queue_depth", "timestamp"),
    }


def test_stopped_containers_are_noticed_and_so_is_their_return(spare_system: RunningSystem) -> None:
    containers = [
        pid for name, pid in spare_system.pids().items() if name.startswith("container-") or name == "bedrock"
    ]
    # Stopped, not ended: the supervisor would start another one, and nothing would be the matter.
    for pid in containers:
        os.kill(pid, signal.SIGSTOP)
    try:
        body = _await_health(spare_system, 503)
        assert body["status"] == "unhealthy"
        assert body["total_capacity"] == body["available_capacity"] == 0
    finally:
        for pid in containers:
            os.kill(pid, signal.SIGCONT)
    assert _await_health(spare_system, 200)["status"] in ("healthy", "degraded")
    client(spare_system).chat.completions.create(model="demo", messages=QUESTION, max_tokens=2)


def test_a_pool_without_a_healthy_target_says_so_and_when_to_come_back(running_system: RunningSystem) -> None:
    dead = {"name": "dead", "engine": "openai_compatible", "url": "http://127.0.0.1:9/v1"}
    admin(running_system, "PUT", "/pools/nowhere", {"name": "nowhere", "targets": [dead]})
    try:
        key = new_tenant(running_system, "nowhere", pools=["nowhere"])
        with pytest.raises(InternalServerError) as refused:
            client(running_system, key, "nowhere").chat.completions.create(model="nowhere", messages=QUESTION)
        assert refused.value.status_code == 503
        assert "no healthy target" in str(refused.value)
        assert int(refused.value.response.headers["Retry-After"]) >= 1
    finally:
        admin(running_system, "DELETE", "/pools/nowhere")


def _await_health(system: RunningSystem, expected: int, said: str | None = None) -> dict[str, object]:
    _, body = until(lambda: health(system), lambda seen: seen[0] == expected and said in (None, seen[1]["status"]))
    return body
