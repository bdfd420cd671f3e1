"""The system as somebody at a terminal sees it."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from select import select
from time import monotonic

import pytest

from tests.local.pids import family, left_of
from tests.local_system import ENVIRONMENT, ROOT
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


@pytest.mark.skipif(sys.platform != "linux", reason="a terminal of Linux")
def test_when_ctrl_c_gives_the_prompt_back_nobody_is_left(tmp_path: Path) -> None:
    terminal = Terminal()
    try:
        command = [sys.executable, "-m", "local", "--port", "0", "--state-dir", str(tmp_path)]
        terminal.type(shlex.join(command) + "\n")
        terminal.until("Stop: Ctrl-C")
        everyone = family(terminal.shell.pid)[1:]
        assert len(everyone) > 10  # with the llama of each container

        terminal.type("\x03")
        terminal.until(PROMPT)

        assert left_of(everyone) == []
    finally:
        terminal.close()
