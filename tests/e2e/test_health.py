"""`/health` tells the truth, as of the last time the targets were asked."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from openai import InternalServerError

from tests.e2e.admin import admin, http, new_tenant
from tests.e2e.test_openai_sdk import QUESTION, client
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S, until

PROBER = """
from app import app
from local.scheduler import schedules

(prober,) = [each for each in schedules(app) if each.name == "prober"]
prober.run()
"""


def health(system: RunningSystem) -> tuple[int, dict[str, object]]:
    """After one more round of the schedule, which else comes each minute."""
    bedrock = system.env["CLOISTER_LOCAL_BEDROCK_URL"]
    theirs = {"AWS_ENDPOINT_URL_BEDROCK": bedrock, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock}  # as the system has it
    subprocess.run(
        [sys.executable, "-c", PROBER],
        cwd=Path(__file__).parents[2],
        env=os.environ | system.env | theirs,
        check=True,
        timeout=PATIENCE_S,
    )
    status, _, body = http("GET", f"{system.base_url}/health")
    return status, json.loads(body)


def test_a_running_system_is_healthy(running_system: RunningSystem) -> None:
    body = _await_health(running_system, 200, "healthy")
    # Four places each: the container that is a server as well, and three models of Bedrock. Who may sleep is not asked.
    assert body["total_capacity"] == 16
    assert body["unknown_targets"] == 3
    assert set(body) == {
        *("status", "region", "available_capacity", "total_capacity", "avg_queue_depth", "unknown_targets"),
        *("asked_at", "age_ms", "timestamp"),
    }


def test_the_system_asks_its_targets_by_itself_and_is_ready(running_system: RunningSystem) -> None:
    for path in ("/live", "/ready"):
        assert http("GET", f"{running_system.base_url}{path}")[0] == 200
    assert until(lambda: json.loads(http("GET", f"{running_system.base_url}/health")[2])["asked_at"])


def test_stopped_containers_are_noticed_and_so_is_their_return(spare_system: RunningSystem) -> None:
    containers = [
        pid for name, pid in spare_system.pids().items() if name.startswith("container-") or name == "bedrock"
    ]
    # Stopped, not ended: the supervisor would start another one, and nothing would be the matter.
    for pid in containers:
        os.kill(pid, signal.SIGSTOP)
    try:
        body = _await_health(spare_system, 200, "degraded", answering=0)
        assert body["available_capacity"] == 0, "nobody who was asked answers; of the others nothing is known"
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


def _await_health(
    system: RunningSystem, expected: int, said: str | None = None, answering: int | None = None
) -> dict[str, object]:
    def good(seen: tuple[int, dict[str, object]]) -> bool:
        status, body = seen
        return status == expected and said in (None, body["status"]) and answering in (None, body["total_capacity"])

    return until(lambda: health(system), good)[1]
