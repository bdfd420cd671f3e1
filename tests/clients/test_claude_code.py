"""Claude Code as it is, set as its page in docs/clients.md says, against the whole running system."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import npm
from tests.clients import weather_model
from tests.e2e.admin import admin, new_tenant
from tests.e2e.local_bedrock import command
from tests.engines.servers import Request, Server, Wire, serving
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "clients.md"
BUDGETED = "claude-sonnet-4-5-20250929"
"""A name by which it sends a budget for thinking."""

SECRET = "The secret word is xylophone."


class Coder(NamedTuple):
    """Somebody with Claude Code, and a folder with a file in it."""

    folder: Path
    environment: dict[str, str]
    elsewhere: Server  # where it is led that asks any host but ours

    @property
    def notes(self) -> Path:
        return self.folder / "work" / "notes.txt"

    @property
    def question(self) -> str:
        """One that takes a tool."""
        return f"What is the secret word in {self.notes}?"

    def __call__(self, pool: str, question: str, *options: str, **environment: str) -> dict[str, Any]:
        """What it says at its end, asked by the page's settings, and with options besides."""
        found = re.search(r"^## Claude Code\n.*?^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
        assert found
        *settings, asking = found[1].splitlines()
        assert asking == 'claude -p "What is Cloister?"'
        script = "\n".join(setting.replace("MODEL=claude", f"MODEL={pool}") for setting in settings)
        ended = subprocess.run(
            ["sh", "-euc", f'{script}\nexec claude -p "$@" --output-format json', "sh", question, *options],
            cwd=self.notes.parent,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert ended.stdout, ended.stderr
        said: dict[str, Any] = json.loads(ended.stdout)
        assert (ended.returncode != 0) == said["is_error"]
        assert self.elsewhere.requests == []
        return said


class Place(NamedTuple):
    """A tenant that nothing limits, and a pool whose model reads a file when it can."""

    system: RunningSystem
    tenant: str
    api_key: str


@pytest.fixture(scope="module")
def place(running_system: RunningSystem) -> Iterator[Place]:
    with serving(partial(weather_model.answer_with, reads)) as server:
        target = {"name": "reading", "engine": "openai_compatible", "url": f"{server.root}/v1"}
        admin(running_system, "PUT", "/pools/clients-reading", {"name": "clients-reading", "targets": [target]})
        unlimited = {"rates": [], "budgets": [], "in_flight": 8}
        pools = ["demo", "claude", "nova", "clients-reading"]
        key = new_tenant(running_system, "clients-coding", pools=pools, limits=unlimited)
        yield Place(running_system, "clients-coding", key)
        command(running_system, do="reset")
        admin(running_system, "PATCH", "/tenants/clients-coding", {"pools": [], "aliases": {}})
        admin(running_system, "DELETE", "/pools/clients-reading")


@pytest.fixture
def coder(place: Place, tmp_path: Path) -> Iterator[Coder]:
    command(place.system, do="reset")
    wrapper = npm.installed(HERE / "claude_code") / "node_modules" / "@anthropic-ai" / "claude-code" / "cli-wrapper.cjs"
    for folder in ("bin", "home", "work"):
        (tmp_path / folder).mkdir()
    program = tmp_path / "bin" / "claude"
    program.write_text(f'#!/bin/sh\nexec node "{wrapper}" "$@"\n')
    program.chmod(0o755)
    with serving(refuses) as elsewhere:
        environment = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path / "home"),
            "CLOISTER_BASE_URL": place.system.base_url,
            "CLOISTER_TENANT": place.tenant,
            "CLOISTER_API_KEY": place.api_key,
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), elsewhere.root),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1"),
        }
        coder = Coder(tmp_path, environment, elsewhere)
        coder.notes.write_text(SECRET)
        yield coder


def reads(asked: dict[str, Any]) -> dict[str, Any]:
    """The message of a model that looks into the file of the question, and then says what it has read."""
    results = [turn["content"] for turn in asked["messages"] if turn["role"] == "tool"]
    if results:
        return {"role": "assistant", "content": f"I have read: {results[-1]}"}
    (file,) = re.findall(r"secret word in (\S+)\?", json.dumps(asked["messages"]))
    call = {"name": "Read", "arguments": json.dumps({"file_path": file})}
    calls = [{"id": "call_1", "type": "function", "function": call}]
    return {"role": "assistant", "content": "Let me look.", "tool_calls": calls}


def refuses(_request: Request, wire: Wire) -> None:
    wire.send(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("pool", "options", "least_tokens", "most_tokens"),
    [("claude", (), 5_000, 200_000), ("nova", (), 5_000, 300_000), ("demo", ("--bare",), 100, 2_048)],
)
def test_a_question_is_answered(
    coder: Coder, pool: str, options: tuple[str, ...], least_tokens: int, most_tokens: int
) -> None:
    said = coder(pool, "What is Cloister?", *options)
    assert (said["is_error"], said["num_turns"], list(said["modelUsage"])) == (False, 1, [pool]), said
    assert said["result"]
    assert least_tokens < said["usage"]["input_tokens"] < most_tokens


@pytest.mark.parametrize("pool", ["claude", "nova"])
def test_a_tool_is_called_and_what_it_found_is_told(coder: Coder, place: Place, pool: str) -> None:
    command(
        place.system,
        do="say",
        blocks=[{"text": "Let me look."}, {"tool": "Read", "input": {"file_path": str(coder.notes)}}],
    )
    command(place.system, do="say", blocks=[{"text": "It is xylophone."}])
    said = coder(pool, coder.question)
    assert (said["is_error"], said["num_turns"], said["result"]) == (False, 2, "It is xylophone."), said
    assert said["permission_denials"] == []


def test_a_model_behind_an_openai_compatible_server_is_told_what_the_file_says(coder: Coder) -> None:
    said = coder("clients-reading", coder.question)
    assert (said["is_error"], said["num_turns"]) == (False, 2), said
    assert SECRET in said["result"]


def test_a_prompt_that_is_too_long_is_known_for_one(coder: Coder) -> None:
    said = coder("demo", "What is Cloister?")
    assert said["result"].startswith("Prompt is too long"), said


def test_a_wrong_key_is_told_and_not_tried_again(coder: Coder) -> None:
    said = coder("demo", "What is Cloister?", CLOISTER_API_KEY="ck_clients.aaaaaaaa_" + "x" * 43)
    assert said["result"].startswith("Failed to authenticate"), said


@pytest.mark.parametrize(
    ("pool", "environment", "refused"),
    [
        ("claude", {}, ""),
        ("nova", {}, "leave `thinking` out"),
        ("nova", {"MAX_THINKING_TOKENS": "0"}, ""),
    ],
)
def test_a_budget_for_thinking_is_for_claude_and_can_be_left_out(
    coder: Coder, place: Place, pool: str, environment: dict[str, str], refused: str
) -> None:
    admin(place.system, "PATCH", f"/tenants/{place.tenant}", {"aliases": {BUDGETED: pool}})
    said = coder(BUDGETED, "What is Cloister?", **environment)
    assert (said["is_error"], refused in said["result"]) == (bool(refused), True), said
