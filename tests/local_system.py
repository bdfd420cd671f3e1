"""The whole local system as a person starts it: `python -m local`, on free ports.

`pytest_plugins` of the root conftest gives every test the fixtures `running_system`, which is left as it is, and
`spare_system`, whose parts may be stopped.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from select import select
from time import monotonic
from types import MappingProxyType

import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
# The local cloud answers in milliseconds, but on a busy machine not always within the second that DynamoDB gets.
DEADLINE = {"CLOISTER_STORE_DEADLINE_MS": "10000"}
# What a person may have in a shell, and no process of the system needs.
PLANTED = "planted-for-nobody"
STRAY = dict.fromkeys(("SOMEBODYS_PASSWORD", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "CLOISTER_ADMIN_KEY"), PLANTED)
ENVIRONMENT = {**DEADLINE, **STRAY}


class RunningSystem:
    """A system that is ready."""

    def __init__(self, process: "subprocess.Popen[str]", state_dir: Path) -> None:
        self.process = process
        self.state_dir = state_dir
        self._unread = ""
        self.banner = self.await_line("Ctrl-C")
        self.env = variables((state_dir / "env").read_text())
        self.base_url = self.env["CLOISTER_BASE_URL"]
        self.tenant = self.env["CLOISTER_TENANT"]
        self.api_key = self.env["CLOISTER_API_KEY"]
        self.admin_key = self.env["CLOISTER_ADMIN_KEY"]

    def pids(self) -> dict[str, int]:
        """Process ids by name: `cloud`, `gateway`, `scheduler`, `container-demo`, …"""
        found: dict[str, int] = json.loads((self.state_dir / "processes.json").read_text())
        return found

    def await_line(self, *any_of: str) -> str:
        """Until the system says one of these, after what was awaited last; all that it said until then."""
        assert self.process.stdout is not None
        descriptor, until = self.process.stdout.fileno(), monotonic() + PATIENCE_S
        while not (heard := [words for words in any_of if words in self._unread]):
            readable, _, _ = select([descriptor], [], [], max(0.0, until - monotonic()))
            piece = os.read(descriptor, 65_536).decode() if readable else ""
            assert piece, f"the system has said none of {any_of}; it said:\n{self._unread}"
            self._unread += piece
        said, words, self._unread = self._unread.partition(heard[0])
        return said + words

    def stop(self) -> int:
        """As Ctrl-C does. The exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)


@contextmanager
def local_system(
    state_dir: Path, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[RunningSystem]:
    process = start(state_dir, *arguments, environment=environment)
    try:
        yield RunningSystem(process, state_dir)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.communicate()


def start(
    state_dir: Path, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})
) -> "subprocess.Popen[str]":
    """`python -m local`, as a process group of its own. `environment`: settings of a test's own."""
    # Quiet, for nobody reads on while it runs, and a pipe that is full would hold it up.
    command = [sys.executable, "-m", "local", "--quiet", "--state-dir", str(state_dir), "--port", "0", *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="session")
def running_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """Shared by all tests: leave its processes running and its demo tenant as it is."""
    with local_system(tmp_path_factory.mktemp("system")) as system:
        yield system


@pytest.fixture(scope="session")
def spare_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """For tests that stop its parts. They take it in the order of their files; the last one may end it."""
    with local_system(tmp_path_factory.mktemp("spare")) as system:
        yield system


def environment_of(pid: int) -> dict[str, str]:
    """What a process was started with; nothing but on Linux, which alone tells."""
    if sys.platform != "linux":
        return {}
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().rstrip("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


def variables(env: str) -> dict[str, str]:
    """What `source` would set."""
    lines = (line.removeprefix("export ").partition("=") for line in env.splitlines())
    return {name: shlex.split(value)[0] for name, _, value in lines}
