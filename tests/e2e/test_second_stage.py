"""The demo tenant judged by the guardrail that the local Bedrock has, as docs/guardrails.md shows it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.e2e.local_bedrock import command
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

PAGE = (Path(__file__).parents[2] / "docs" / "guardrails.md").read_text()


@pytest.fixture
def system(running_system: RunningSystem) -> Iterator[RunningSystem]:
    """Without guardrails afterwards, as it was."""
    yield running_system
    assert put(running_system, {}).is_success
    command(running_system, do="reset")


def put(system: RunningSystem, rules: Any) -> httpx.Response:
    url = f"{system.base_url}/tenants/{system.tenant}/guardrails"
    return httpx.put(url, json=rules, headers={"authorization": f"Bearer {system.api_key}"}, timeout=PATIENCE_S)


def client(system: RunningSystem) -> OpenAI:
    url = f"{system.base_url}/tenants/{system.tenant}/v1"
    return OpenAI(base_url=url, api_key=system.api_key, max_retries=0, timeout=PATIENCE_S)


def says(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_the_example_of_the_page_is_refused(system: RunningSystem) -> None:
    (example,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run(["sh", "-ec", example], env=system.env, capture_output=True, text=True, timeout=PATIENCE_S)
    assert '"guardrail":"demo"' in done.stdout.replace(" ", ""), done.stderr
    assert "content_refused" in done.stdout


def test_openais_client_meets_it_in_prompts_whole_answers_and_streams(system: RunningSystem) -> None:
    assert put(system, {"bedrock": {"guardrail": "demo"}, "refusal": "Not of this."}).is_success
    asking = client(system)
    with pytest.raises(openai.BadRequestError, match=r"Not of this\."):
        asking.chat.completions.create(model="demo", messages=says("Project Falcon?"), max_tokens=5)

    command(system, do="say", blocks=[{"text": "ask ann@example.org, " * 200}], times=2)
    whole = asking.chat.completions.create(model="claude", messages=says("whom?")).choices[0].message.content
    assert whole == "ask {EMAIL}, " * 200
    stream = asking.chat.completions.create(model="claude", messages=says("whom?"), stream=True)
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(pieces) == whole
    assert len([piece for piece in pieces if piece]) > 3, "it comes in windows, not at once"

    command(system, do="say", blocks=[{"text": "all is well " * 200 + "in project falcon"}])
    said = ""
    with pytest.raises(openai.APIError, match=r"Not of this\."):
        for chunk in asking.chat.completions.create(model="claude", messages=says("?"), stream=True):
            said += chunk.choices[0].delta.content or "" if chunk.choices else ""
    assert said and ("all is well " * 200).startswith(said)


@pytest.mark.parametrize("fault", [{"do": "stall"}, {"do": "fail", "error": "InternalServerException"}, {"do": "cut"}])
def test_faults_of_it_close_or_open_as_its_owners_have_chosen(system: RunningSystem, fault: dict[str, str]) -> None:
    chosen = {"guardrail": "demo", "deadline_ms": 500, "direction": "in"}
    command(system, **fault, operation="ApplyGuardrail", times=None)
    assert put(system, {"bedrock": {**chosen, "on_fault": "closed"}}).is_success
    with pytest.raises(openai.InternalServerError) as refused:
        client(system).chat.completions.create(model="demo", messages=says("hello"), max_tokens=5)
    assert refused.value.status_code == 503
    assert put(system, {"bedrock": {**chosen, "on_fault": "open"}}).is_success
    answer = client(system).chat.completions.create(model="demo", messages=says("hello"), max_tokens=5)
    assert answer.choices[0].message.content
