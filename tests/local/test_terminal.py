"""The system as somebody at a terminal sees it."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from select import select
from time import monotonic

import httpx
import pytest

from tests.local.pids import family, left_of
from tests.local_system import ENVIRONMENT, ROOT, variables
from tests.patience import PATIENCE_S

PROMPT = "now-what? "


class Terminal:
    """A shell on a terminal of its own, and the person who types."""

    def __init__(self) -> None:
        self._keys, screen = os.openpty()
        self.shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT, "PS1": PROMPT, "TERM": "dumb"},
            stdin=screen,
            stdout=screen,
            stderr=screen,
            preexec_fn=lambda: os.login_tty(screen),
        )
        os.close(screen)
        self._unread = ""
        self.until(PROMPT)

    def type(self, keys: str) -> None:
        os.write(self._keys, keys.encode())

    def until(self, words: str) -> str:
        """What the screen shows up to these words, after what was read last."""
        end = monotonic() + PATIENCE_S
        while words not in self._unread:
            readable, _, _ = select([self._keys], [], [], max(0.0, end - monotonic()))
            assert readable, f"{words!r} never came; the screen shows:\n{self._unread}"
            self._unread += os.read(self._keys, 65_536).decode(errors="replace")
        shown, _, self._unread = self._unread.partition(words)
        return shown + words

    def close(self) -> None:
        for pid in family(self.shell.pid)[::-1]:
            os.kill(pid, 9)
        self.shell.wait(PATIENCE_S)
        os.close(self._keys)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    started = Terminal()
    yield started
    started.close()


def start(terminal: Terminal, state_dir: Path) -> dict[str, str]:
    command = [sys.executable, "-m", "local", "--port", "0", "--state-dir", str(state_dir)]
    terminal.type(shlex.join(command) + "\n")
    terminal.until("Stop: Ctrl-C")
    return variables((state_dir / "env").read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="a terminal of Linux")
def test_when_ctrl_c_gives_the_prompt_back_nobody_is_left(terminal: Terminal, tmp_path: Path) -> None:
    start(terminal, tmp_path)
    everyone = family(terminal.shell.pid)[1:]
    assert len(everyone) > 10  # with the llama of each container

    terminal.type("\x03")
    terminal.until(PROMPT)

    assert left_of(everyone) == []


def test_each_request_is_a_line_and_none_tells_a_secret(terminal: Terminal, tmp_path: Path) -> None:
    env = start(terminal, tmp_path)
    tenant, key = env["CLOISTER_TENANT"], env["CLOISTER_API_KEY"]
    with httpx.Client(base_url=f"{env['CLOISTER_BASE_URL']}/tenants/{tenant}/v1") as client:
        bearer = {"authorization": f"Bearer {key}"}
        ask = {"model": "demo", "max_tokens": 5, "messages": [{"role": "user", "content": "a private word"}]}
        used = client.post("/chat/completions", headers=bearer, json=ask).json()["usage"]["total_tokens"]
        client.post("/chat/completions", headers=bearer, json=ask | {"stream": True})
        client.post("/chat/completions", headers={"authorization": "Bearer wrong"}, json=ask)
        client.get(f"/models/{key}?token={key}", headers=bearer)
        client.get("/nothing-here")
    shown = "".join(terminal.until(" ms") for _ in range(5))

    lines = [re.sub(r"\d+ ms", "N ms", line) for line in shown.splitlines() if line.startswith(("GET", "POST"))]
    chat = f"POST /tenants/{tenant}/v1/chat/completions  {tenant}"
    assert sorted(lines) == sorted(
        [
            f"{chat}  200  {used} tokens  N ms",
            f"{chat}  200  {used} tokens  N ms",
            f"{chat}  401  N ms",
            f"GET /tenants/{tenant}/v1/models/ck_...  {tenant}  400  N ms",
            f"GET /tenants/{tenant}/v1/nothing-here  {tenant}  404  N ms",
        ]
    )
    assert "private" not in shown
