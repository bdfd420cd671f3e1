"""A part of the running system that is killed comes back, on its port, with its keys and its data."""

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from openai import OpenAI

import cloister
from tests.e2e.admin import admin, http
from tests.local.pids import await_gone
from tests.local_system import RunningSystem, environment_of
from tests.patience import PATIENCE_S, until

QUESTION: Any = [{"role": "user", "content": "What is Cloister?"}]


def chat(system: RunningSystem, model: str, transport: cloister.SealedTransport | None = None) -> None:
    """Asks with the demo tenant's key, once. Raises what the client does."""
    client = OpenAI(
        base_url=f"{system.base_url}/tenants/{system.tenant}/v1",
        api_key=system.api_key,
        max_retries=0,
        timeout=PATIENCE_S,
        http_client=transport,
    )
    assert client.chat.completions.create(model=model, messages=QUESTION, max_tokens=4).choices


def chat_sealed(system: RunningSystem) -> None:
    """In a mode in which the enclave needs its module, the platform's key in KMS and the key epoch to open anything."""
    trusted = [{0: system.env["CLOISTER_PCR0"]}]
    root = system.env["CLOISTER_ATTESTATION_ROOT"]
    chat(system, "demo", cloister.SealedTransport("hpke", root=root, measurements=trusted))


def find_what_was_made(system: RunningSystem) -> None:
    assert admin(system, "GET", "/tenants/made-before")["name"] == "Made before"
    chat(system, "demo")


def asked_at(system: RunningSystem) -> Any:
    """When the scheduler last had the targets asked."""
    return json.loads(http("GET", f"{system.base_url}/health")[2])["asked_at"]


def see_the_targets_asked(system: RunningSystem) -> None:
    before = asked_at(system)
    until(lambda: asked_at(system), lambda seen: seen != before)


def chat_once_the_model_is_there(system: RunningSystem) -> None:
    (target,) = admin(system, "GET", "/pools/demo-direct")["pool"]["targets"]
    ping = target["url"].removesuffix("/v1") + "/ping"

    def answer() -> int:
        try:
            return http("GET", ping)[0]
        except OSError:
            return 0

    until(answer, lambda status: status == 200)
    chat(system, "demo-direct")


# What is of no use while the part is away.
USES: dict[str, Callable[[RunningSystem], None]] = {
    "gateway": lambda system: chat(system, "demo"),
    "bedrock": lambda system: chat(system, "nova"),
    "enclave": chat_sealed,
    "cloud": find_what_was_made,
    "scheduler": see_the_targets_asked,
    "container-demo": chat_once_the_model_is_there,
}


@pytest.mark.parametrize("name", USES)
def test_a_part_that_is_killed_comes_back_as_it_was(spare_system: RunningSystem, name: str) -> None:
    if name == "cloud":
        admin(spare_system, "POST", "/tenants", {"id": "made-before", "name": "Made before"})
    before = spare_system.pids()
    env = environment_of(before[name])
    os.kill(before[name], signal.SIGKILL)
    spare_system.await_line(f"The {name} was killed by SIGKILL")
    spare_system.await_line(f"The {name} runs again.")
    after = spare_system.pids()
    assert {each for each in before if before[each] != after[each]} == {name}
    USES[name](spare_system)
    assert environment_of(after[name]) == env, "the first time and every time after it finds the same"


def test_whoever_asks_while_the_gateway_is_away_waits_for_it(spare_system: RunningSystem) -> None:
    pid = spare_system.pids()["gateway"]
    os.kill(pid, signal.SIGKILL)
    await_gone([pid])
    chat(spare_system, "demo")
    spare_system.await_line("The gateway runs again.")
