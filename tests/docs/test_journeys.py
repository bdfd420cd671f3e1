"""The first hour, as the pages tell it: each kind of user types the pages' own commands, and reads what is printed."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulators.sockets import reserve
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S, until

ROOT = Path(__file__).parents[2]
PROGRAMS = {"python": "", "python3": "", "cloister": "-m cloister.cli"}


def blocks(page: str, language: str, section: str = "") -> list[str]:
    """The code of a page, or of one of its sections."""
    text = (ROOT / page).read_text()
    if section:
        text = re.split(r"^#{2,} ", text.partition(f"# {section}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        assert text, f"{page} has no section {section!r}"
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


class Terminal:
    """A person's: bash in a folder of theirs, where `.local/env` is the running system's, with the packages that the
    pages tell them to install.
    """

    def __init__(self, system: RunningSystem, folder: Path) -> None:
        self.folder = folder
        (folder / ".local").mkdir()
        (folder / ".local" / "env").symlink_to(system.state_dir / "env")
        programs = folder / "bin"
        programs.mkdir()
        for name, arguments in PROGRAMS.items():
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
            program.chmod(0o755)
        self._environ = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT / "client"),
        }

    def save(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def types(self, *commands: str) -> list[str]:
        """Each in the same shell; what each printed. The first that fails ends it."""
        mark = "-- that was it --"
        script = f"\necho; echo '{mark}'\n".join(commands)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        printed = [each.strip() for each in done.stdout.split(mark)]
        assert len(printed) == len(commands)
        return printed


@pytest.fixture
def terminal(running_system: RunningSystem, tmp_path: Path) -> Terminal:
    return Terminal(running_system, tmp_path)


SOURCE = "source .local/env"


def test_a_developer_asks_as_the_banner_and_the_readme_say(running_system: RunningSystem, terminal: Terminal) -> None:
    (curl,) = re.findall(r"^  (curl .*)$", running_system.banner, re.MULTILINE)
    (program,) = re.findall(r"openai:\n\n((?:  .*\n)+)", running_system.banner)
    terminal.save("banner.py", re.sub("^  ", "", program, flags=re.MULTILINE))
    terminal.save("streamed.py", blocks("README.md", "python", "Use it")[0])
    told, printed, _, streamed = terminal.types(curl, "python banner.py", SOURCE, "python streamed.py")
    answer = json.loads(told)["choices"][0]["message"]["content"]
    assert "Cloister" in answer
    assert "Cloister" in printed
    assert "Cloister" in streamed


def test_an_operator_makes_a_tenant_and_its_owner_a_key(running_system: RunningSystem, terminal: Terminal) -> None:
    (operating,) = blocks("client/README.md", "sh", "For operators")
    put, create, key, reviews, left, requests, health = operating.splitlines()
    terminal.save("pool.json", json.dumps(_pool_beside_demo(running_system)))
    new_key, limits, principals = (
        command
        for section in ("Bodies that owners and operators send", "Signed requests")
        for command in blocks("docs/api.md", "sh", section)
    )
    said = terminal.types(
        SOURCE,
        put,
        create,
        f"export CLOISTER_TENANT=acme CLOISTER_API_KEY=$({key.partition('#')[0]})",
        limits,
        left,
        new_key.replace("curl ", "curl -o key.json ", 1) + "\ncat key.json",
        'python -c \'import json; print(json.load(open("key.json"))["api_key"])\' > key',
        _asking("$(cat key)", "demo"),
        _asking("$(cat key)", "chat"),
        requests.replace("--follow", "--last 5"),
        reviews,
        health,
        principals,
    )
    _, pool, tenant, _, changed, shown, made, _, answered, refused, listed, reviewed, healthy, whose = said
    assert reviewed.split() == ["TENANT", "REVIEW", "STATE", "LAST", "BY", "FROM"]
    assert json.loads(pool)["name"] == "chat"
    assert json.loads(tenant)["pools"] == ["demo"]
    assert json.loads(changed)["limits"]["in_flight"] == 8
    assert ["month", "tokens", "1000000", "1000000"] in [line.split()[:4] for line in shown.splitlines()]
    scopes = {"pools": ["demo"], "surfaces": ["openai"], "tools": [], "routes": []}
    assert json.loads(made)["key"]["scopes"] == scopes
    assert "choices" in json.loads(answered)
    assert json.loads(refused)["error"]["code"] == "not_found"
    assert [line.split("  ")[1] for line in listed.splitlines()] == ["demo on demo-component"]
    assert json.loads(healthy)["status"] == "healthy"
    assert "problem" in whose or "type" in json.loads(whose), "the principal signs for the demo tenant already"


def test_a_govcloud_client_signs_as_the_page_says(terminal: Terminal) -> None:
    page = "docs/govcloud.md"
    signed, _ = blocks(page, "python", "4. The pool, the tenant and its principals")
    terminal.save("signed.py", signed)
    terminal.save("first_call.py", blocks(page, "python", "5. The first signed call")[0])
    terminal.save("log.py", blocks(page, "python", "6. The audit log")[0])
    (variables,) = blocks(page, "sh", "On one machine")
    _, said, log = terminal.types(variables, "python first_call.py", "python log.py")
    assert "event: done" in said
    assert "govcloud commercial anthropic.claude-sonnet-4-20250514-v1:0 200 internal" in log


def test_a_signed_request_that_is_refused_prints_what_the_problem_says(terminal: Terminal) -> None:
    terminal.save("signed.py", blocks("docs/govcloud.md", "python", "4. The pool, the tenant and its principals")[0])
    (variables,) = blocks("docs/govcloud.md", "sh", "On one machine")
    _, said = terminal.types(
        variables, 'python -c \'from signed import call; call("GET", "/v1/nowhere")\' 2>&1 || true'
    )
    assert said.startswith("GET /v1/nowhere: 40")
    assert '"detail"' in said


@pytest.fixture
def container(tmp_path: Path) -> Iterator[int]:
    """The port of a container that was started as docs/container.md begins."""
    (first, *_) = blocks("docs/container.md", "sh")
    _, command = first.splitlines()
    with reserve() as held, (tmp_path / "log").open("wb") as log:
        port = held.getsockname()[1]
        command = command.replace(".venv/bin/python", sys.executable).replace("8080", str(port))
        process = subprocess.Popen(["bash", "-c", f"exec env {command}"], cwd=ROOT, stdout=log, stderr=log)
        try:
            yield port
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def test_the_container_by_itself_answers_as_its_page_begins(container: int) -> None:
    url = f"http://127.0.0.1:{container}"

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/ping").status_code == 200
        except httpx.TransportError:
            return False

    until(ready)
    body = {"messages": [{"role": "user", "content": "What is Cloister?"}], "max_tokens": 20}
    answer: Any = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=PATIENCE_S).json()
    assert answer["choices"][0]["message"]["content"]


def test_the_figures_of_the_readme_are_those_that_the_bench_printed() -> None:
    rows = {
        cells[0]: (f"{cells[4]} {cells[1]}", f"{cells[2]} {cells[1]}")
        for cells in _cells((ROOT / "docs" / "performance.md").read_text())
        if len(cells) == 7
    }
    compared = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| What it adds"))
    memory = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| Memory"))
    for line, names in (
        (compared, ("CPU per request, 1 at a time", "added latency p50, 1 at a time")),
        (memory, ("resident memory after the load (RSS)", "start to first answer")),
    ):
        _, ours, theirs, *_ = [cell.strip() for cell in line.strip("|").split("|")]
        for name in names:
            assert rows[name][0] in ours
            assert rows[name][1] in theirs


def _cells(page: str) -> Iterator[Sequence[str]]:
    for line in page.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def _pool_beside_demo(system: RunningSystem) -> Any:
    """The demo's target, as a pool of another name."""
    headers = {"Authorization": f"Bearer {system.admin_key}"}
    pools = httpx.get(f"{system.base_url}/admin/pools", headers=headers).json()["pools"]
    (demo,) = [pool for pool in pools if pool["name"] == "demo"]
    return {**demo, "name": "chat", "aliases": []}


def _asking(key: str, model: str) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5})
    url = "$CLOISTER_BASE_URL/tenants/$CLOISTER_TENANT/v1/chat/completions"
    return f"curl -sS {url} -H \"Authorization: Bearer {key}\" -H 'Content-Type: application/json' -d '{body}'"
