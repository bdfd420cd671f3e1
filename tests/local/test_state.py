"""The state directory."""

import stat
import subprocess
from pathlib import Path

import pytest

from local.state import StateDirectory, Unusable


def test_the_env_is_the_owners_alone_and_survives_a_shell(tmp_path: Path) -> None:
    awkward = 'it\'s $HOME; `ls` "x"'
    with StateDirectory(tmp_path / "state") as state:
        state.write_env({"CLOISTER_TENANT": "demo", "CLOISTER_API_KEY": awkward})

        assert stat.S_IMODE(state.env.stat().st_mode) == 0o600
        command = f'source "{state.env}"; env'
        seen = subprocess.run(["bash", "-c", command], env={}, capture_output=True, text=True, check=True).stdout
        assert f"CLOISTER_API_KEY={awkward}" in seen.splitlines()


def test_the_env_is_there_only_while_the_system_runs(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        state.write_env({"CLOISTER_TENANT": "demo"})
        state.write_processes({"gateway": 1})

    assert not (tmp_path / "env").exists()
    assert not (tmp_path / "processes.json").exists()


def test_what_a_killed_system_left_behind_is_gone_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("export CLOISTER_BASE_URL=http://127.0.0.1:1\n")

    with StateDirectory(tmp_path) as state:
        assert not state.env.exists()


def test_a_directory_serves_one_system_at_a_time(tmp_path: Path) -> None:
    with (
        StateDirectory(tmp_path),
        pytest.raises(Unusable, match=r"belongs to a system that is running \(process \d+\)"),
        StateDirectory(tmp_path),
    ):
        pass
    with StateDirectory(tmp_path):
        pass


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(Unusable, match="cannot be the state directory: Not a directory"),
        StateDirectory(tmp_path / "file" / "x"),
    ):
        pass
