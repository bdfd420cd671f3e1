"""A person at a terminal signs in with the command `cloister`, works without a key, and signs out again."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.local_system import ROOT, RunningSystem
from tests.patience import PATIENCE_S


class Terminal:
    """Of somebody who has no key, and a home of their own."""

    def __init__(self, system: RunningSystem, home: Path) -> None:
        person = [system.env[f"CLOISTER_PERSON_{name}"] for name in ("EMAIL", "PASSWORD")]
        browser = f"{sys.executable} -m tests.e2e.person {' '.join(person)} %s"
        kept = {name: value for name, value in {**os.environ, **system.env}.items() if name != "CLOISTER_API_KEY"}
        self._env = {
            **kept,
            "HOME": str(home),
            "BROWSER": browser,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'client'}",
        }
        self._env.pop("XDG_CONFIG_HOME", None)
        self.file = home / ".config" / "cloister" / "signed-in.json"

    def run(self, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "cloister.cli", *arguments]
        return subprocess.run(
            command, env={**self._env, **env}, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
        )

    def held(self) -> Any:
        (held,) = json.loads(self.file.read_bytes()).values()
        return held

    def forgets_the_time(self) -> None:
        """As if the access token had ended."""
        kept = json.loads(self.file.read_bytes())
        self.file.write_text(json.dumps({gateway: {**held, "ends_s": 0} for gateway, held in kept.items()}))


@pytest.fixture
def terminal(running_system: RunningSystem, tmp_path: Path) -> Terminal:
    return Terminal(running_system, tmp_path)


@pytest.mark.parametrize("how", [(), ("--password",)], ids=["by a browser", "by a password"])
def test_whoever_signs_in_needs_no_key_until_they_sign_out(
    running_system: RunningSystem, terminal: Terminal, how: tuple[str, ...]
) -> None:
    assert terminal.run("keys", "list").returncode == 2
    signed_in = terminal.run("login", *how)
    assert (signed_in.returncode, signed_in.stdout) == (0, f"You are signed in at {running_system.base_url}.\n"), (
        signed_in.stderr
    )
    assert stat.S_IMODE(terminal.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(terminal.file.parent.stat().st_mode) == 0o700
    assert terminal.run("keys", "list").stdout.startswith(running_system.env["CLOISTER_KMS_KEY_ARN"])
    before = terminal.held()
    assert before["access_token"] not in signed_in.stdout + signed_in.stderr
    terminal.forgets_the_time()
    assert terminal.run("keys", "list").stdout.startswith(running_system.env["CLOISTER_KMS_KEY_ARN"])
    renewed = terminal.held()
    assert renewed["access_token"] != before["access_token"]
    assert stat.S_IMODE(terminal.file.stat().st_mode) == 0o600
    assert terminal.run("logout").stdout == f"You are signed out of {running_system.base_url}.\n"
    assert json.loads(terminal.file.read_bytes()) == {}
    form = {"grant_type": "refresh_token", "client_id": renewed["client_id"], "refresh_token": renewed["refresh_token"]}
    where = f"{running_system.env['CLOISTER_ISSUER'].rpartition('/')[0]}/oauth2/token"
    assert httpx.post(where, data=form, trust_env=False, timeout=PATIENCE_S).json()["error"] == "invalid_grant"
    assert terminal.run("keys", "list").returncode == 2


def test_whoever_has_a_wrong_password_is_not_told_to_sign_in(terminal: Terminal) -> None:
    refused = terminal.run("login", "--password", CLOISTER_PERSON_PASSWORD="wrong")
    assert refused.returncode == 2
    assert "the password is wrong" in refused.stderr and refused.stderr.count("cloister login") == 0


def test_a_sign_in_that_is_over_is_said_in_a_sentence(terminal: Terminal) -> None:
    terminal.run("login", "--password")
    kept = json.loads(terminal.file.read_bytes())
    gone = {gateway: {**held, "ends_s": 0, "refresh_token": "revoked"} for gateway, held in kept.items()}
    terminal.file.write_text(json.dumps(gone))
    refused = terminal.run("keys", "list")
    assert (refused.returncode, refused.stderr) == (
        2,
        "cloister: Your sign-in is over. Sign in again: cloister login.\n",
    )
