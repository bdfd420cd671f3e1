"""What stands in the way of a start is one sentence and exit status 2, never a traceback."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local.state import StateDirectory
from tests.local_system import ROOT
from tests.patience import PATIENCE_S


def _local(*arguments: str, python: tuple[str, ...] = (sys.executable,)) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*python, "-m", "local", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
    )


def _is_one_sentence(ran: "subprocess.CompletedProcess[str]") -> bool:
    return ran.returncode == 2 and ran.stderr.count("\n") == 1 and "Traceback" not in ran.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = _local("--port", str(port), "--state-dir", str(tmp_path))

    assert _is_one_sentence(ran)
    assert ran.stderr == (
        f'Port {port} cannot be used: Address already in use; name another: make run ARGS="--port {port + 1}"\n'
    )


def test_a_port_in_use_is_known_before_anything_is_installed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = _local("--port", str(taken.getsockname()[1]), "--check", python=(sys.executable, "-S"))

    assert _is_one_sentence(ran)
    assert "cannot be used" in ran.stderr


def test_a_port_that_is_free_is_no_reason_to_say_anything() -> None:
    ran = _local("--port", "0", "--check", python=(sys.executable, "-S"))

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_state_directory_in_use(tmp_path: Path) -> None:
    with StateDirectory(tmp_path):
        ran = _local("--port", "0", "--state-dir", str(tmp_path))

    assert _is_one_sentence(ran)
    assert "belongs to a system that is running" in ran.stderr
    assert "ARGS=" in ran.stderr


def test_a_python_without_the_dependencies(tmp_path: Path) -> None:
    ran = _local("--state-dir", str(tmp_path), python=(sys.executable, "-S"))

    assert _is_one_sentence(ran)
    assert "`make run` installs everything" in ran.stderr


@pytest.mark.parametrize("port", ["70000", "-1", "http"])
def test_what_is_not_a_port(port: str) -> None:
    ran = _local("--port", port)

    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("name", ["local.bedrock", "local.kms", "emulators.bedrock", "emulators.kms"])
def test_a_program_of_the_emulators_goes_by_the_name_that_it_is_called_by(name: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", name, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
    )

    assert ran.returncode == 0
    assert ran.stdout.startswith(f"usage: python -m {name} ")


def test_make_alone_says_what_there_is_to_make() -> None:
    ran = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)

    assert ran.returncode == 0
    assert ran.stdout.startswith("make run      the whole system on this machine")
    assert all(f"\nmake {name} " in ran.stdout for name in ("test", "check", "bench", "package", "clean"))
    assert ran.stdout.endswith("whenever a requirements file changes.\n")


def _make(tmp_path: Path, python: str) -> "subprocess.CompletedProcess[str]":
    """`make run` in a fresh clone with this interpreter."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    script = tmp_path / "python"
    script.write_text(f"#!/bin/bash\n{python}\n")
    script.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "run", f"PYTHON={script}"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=PATIENCE_S
    )


@pytest.mark.parametrize(
    ("python", "says"),
    [
        ('[[ "$2" == *version_info* ]] && exit 1; exit 0', "Cloister needs Python 3.11 or newer"),
        ('[[ "$2" == *ensurepip* ]] && exit 1; exit 0', "install its venv module"),
        ("exit 127", "Cloister needs Python 3.11 or newer"),
    ],
    ids=["too old", "no venv", "not there"],
)
def test_make_says_what_the_interpreter_lacks(tmp_path: Path, python: str, says: str) -> None:
    (tmp_path / "local").mkdir()
    for name in ("requirements.txt", "local/requirements.txt", "local/embedding_model.py"):
        (tmp_path / name).touch()

    ran = _make(tmp_path, python)

    assert ran.returncode == 2
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr
