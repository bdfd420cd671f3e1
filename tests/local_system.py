"""The whole local system, started once as a person starts it: `python -m local`, on free ports.

`pytest_plugins = ["tests.local_system"]` in the root conftest gives every test the fixture `running_system`.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from time import monotonic

import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]


class RunningSystem:
    """A system that is ready."""

    def __init__(self, process: "subprocess.Popen[str]", state_dir: Path, banner: str) -> None:
        self.process = process
        self.state_dir = state_dir
        self.banner = banner
        self.env = _variables((state_dir / "env").read_text())
        self.base_url = self.env["CLOISTER_BASE_URL"]
        self.tenant = self.env["CLOISTER_TENANT"]
        self.api_key = self.env["CLOISTER_API_KEY"]
        self.admin_key = self.env["CLOISTER_ADMIN_KEY"]

    def pids(self) -> dict[str, int]:
        """Process ids by name: `cloud`, `gateway`, `scheduler`, `container-demo`, …"""
        found: dict[str, int] = json.loads((self.state_dir / "processes.json").read_text())
        return found

    def await_line(self, words: str) -> None:
        """Until the system says so."""
        _read_until(self.process, words)

    def stop(self) -> int:
        """As Ctrl-C does. The exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)


@contextmanager
def local_system(state_dir: Path, *arguments: str) -> Iterator[RunningSystem]:
    process = start(state_dir, *arguments)
    try:
        banner = _read_until(process, "Ctrl-C")
        yield RunningSystem(process, state_dir, banner)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.communicate()


def start(state_dir: Path, *arguments: str) -> "subprocess.Popen[str]":
    """`python -m local`, as a process group of its own."""
    command = [sys.executable, "-m", "local", "--state-dir", str(state_dir), "--port", "0", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


@pytest.fixture(scope="session")
def running_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """Shared by all tests: leave its processes running and its demo tenant as it is."""
    with local_system(tmp_path_factory.mktemp("system")) as system:
        yield system


def _read_until(process: "subprocess.Popen[str]", end: str) -> str:
    assert process.stdout is not None
    said, until = "", monotonic() + PATIENCE_S
    descriptor = process.stdout.fileno()
    while end not in said:
        readable, _, _ = select([descriptor], [], [], max(0.0, until - monotonic()))
        piece = os.read(descriptor, 65_536).decode() if readable else ""
        assert piece, f"the system did not become ready; it said:\n{said}"
        said += piece
    return said


def _variables(env: str) -> dict[str, str]:
    """What `source` would set."""
    lines = (line.removeprefix("export ").partition("=") for line in env.splitlines())
    return {name: shlex.split(value)[0] for name, _, value in lines}
