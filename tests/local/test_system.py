"""The whole system, as a person starts and stops it."""

import json
import os
import signal
import stat
import urllib.error
import urllib.request
from pathlib import Path

from tests.local.pids import await_gone, command_line, family
from tests.local_system import RunningSystem, local_system
from tests.patience import PATIENCE_S, until


def _health(system: RunningSystem) -> str:
    try:
        with urllib.request.urlopen(f"{system.base_url}/health") as answer:
            return str(json.load(answer)["status"])
    except urllib.error.HTTPError as error:
        return str(json.load(error)["status"])


def _await_health(system: RunningSystem, status: str) -> None:
    until(lambda: _health(system), lambda said: said == status)


def test_it_says_where_it_is_and_how_to_ask(running_system: RunningSystem) -> None:
    banner = running_system.banner

    assert f"{running_system.base_url}/tenants/{running_system.tenant}/v1" in banner
    assert running_system.api_key in banner
    assert "curl " in banner
    assert "from openai import OpenAI" in banner


def test_its_env_has_what_scripts_need(running_system: RunningSystem) -> None:
    assert set(running_system.env) >= {
        "CLOISTER_BASE_URL",
        "CLOISTER_TENANT",
        "CLOISTER_API_KEY",
        "CLOISTER_ADMIN_KEY",
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    }
    assert stat.S_IMODE((running_system.state_dir / "env").stat().st_mode) == 0o600


def test_no_key_is_in_a_log_or_a_command_line(running_system: RunningSystem) -> None:
    secrets = {running_system.api_key, running_system.admin_key, running_system.env["AWS_SECRET_ACCESS_KEY"]}
    logs = "".join(log.read_text() for log in (running_system.state_dir / "logs").iterdir())
    commands = "".join(command_line(pid) for pid in running_system.pids().values())

    assert not [secret for secret in secrets if secret in logs or secret in commands]


def test_two_run_side_by_side_and_ctrl_c_leaves_no_process(running_system: RunningSystem, tmp_path: Path) -> None:
    with local_system(tmp_path) as second:
        everyone = family(second.process.pid)
        assert second.base_url != running_system.base_url
        assert second.api_key != running_system.api_key

        assert second.stop() == 0

        await_gone(everyone)
        assert not (tmp_path / "env").exists()
    _await_health(running_system, "healthy")


def test_a_crashed_container_is_started_again_and_a_stopped_one_stays_so_and_health_knows(
    spare_system: RunningSystem,
) -> None:
    before = spare_system.pids()
    os.kill(before["container-demo"], signal.SIGKILL)
    spare_system.await_line("it is started again")
    spare_system.await_line("The container-demo runs again")
    assert spare_system.pids()["container-demo"] != before["container-demo"]

    for name, pid in spare_system.pids().items():
        if name.startswith("container-"):
            os.kill(pid, signal.SIGTERM)
            spare_system.await_line(f"The {name} was told to stop")
    # What is left are the models of Bedrock.
    _await_health(spare_system, "degraded")


def test_when_a_part_dies_again_and_again_that_is_said_and_the_rest_is_stopped(spare_system: RunningSystem) -> None:
    said = ""
    while "Stopping the system." not in said:  # the life before the first kill may have been a long one
        everyone = family(spare_system.process.pid)
        os.kill(spare_system.pids()["bedrock"], signal.SIGKILL)
        said = spare_system.await_line("The bedrock runs again.", "Stopping the system.")

    assert spare_system.process.wait(PATIENCE_S) == 1
    assert "The bedrock was killed by SIGKILL" in said
    assert "It had been started again 4 times, and never lived for 60 s." in said
    await_gone(everyone)


def test_a_supervisor_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    with local_system(tmp_path) as system:
        everyone = family(system.process.pid)
        system.process.kill()

        await_gone(everyone)
