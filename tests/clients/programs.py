"""How the clients' programs are run, in the packages that they need: one at a time, for whichever client asks next."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from select import select
from time import monotonic
from typing import Any

from tests import npm
from tests.clients import environments
from tests.clients.clients import Client
from tests.patience import PATIENCE_S

HERE = Path(__file__).parent
PYTHON, NODE = HERE / "python", HERE / "node"
MOST_TOKENS = 400  # than the demo model ever says to the question


class Asking:
    """A client that asks."""

    def __init__(self, client: Client, program: "Program") -> None:
        self.door, self.errors = client.door, client.errors
        self._program = program

    def __call__(
        self, function: str, url: str, api_key: str, model: str, question: str = "What is Cloister?"
    ) -> dict[str, Any]:
        asked = {"url": url, "api_key": api_key, "model": model, "question": question, "most_tokens": MOST_TOKENS}
        return self._program.ask({"function": function, "door": self.door, **asked})


class Programs:
    """`folder` makes a new one for what a program needs around it."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._running: Program | None = None

    def of(self, client: Client) -> Asking:
        if self._running is None or self._running.name != client.program or self._running.ended:
            self.close()
            self._running = Program(client, self._folder())
        return Asking(client, self._running)

    def close(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None


class Program:
    """One that runs; see `program.py` and `program.mjs` for what it reads and writes."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.name = client.program
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                _command(client, folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        said: dict[str, Any] = json.loads(self._line())
        return said

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        descriptor, until, line = self._process.stdout.fileno(), monotonic() + PATIENCE_S, b""
        while not line.endswith(b"\n"):
            readable, _, _ = select([descriptor], [], [], max(0.0, until - monotonic()))
            piece = os.read(descriptor, 65_536) if readable else b""
            assert piece, f"{self.name} does not answer; it said:\n{self._log.read_text()}"
            line += piece
        return line


def _command(client: Client, folder: Path) -> list[str]:
    if client.program.endswith(".py"):
        lock = PYTHON / "requirements" / client.packages
        return [str(environments.python_of(lock) if client.packages else sys.executable), str(PYTHON / client.program)]
    # Node looks for packages above the file that imports them.
    (folder / "node_modules").symlink_to(npm.installed(NODE) / "node_modules")
    for program in NODE.glob("*.mjs"):
        shutil.copy(program, folder)
    return ["node", str(folder / client.program)]
