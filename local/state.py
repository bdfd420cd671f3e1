"""The state directory: one running system holds it; what scripts need to know of that system is in it.

lock             held while the system runs
env              for `source`: where the system is, and its keys; only while it runs, and only for its owner
processes.json   name -> process id, while it runs
endpoints.json   what the local cloud knows of the containers
sealing/         what the enclave, the containers and clients trust each other by, of this start
logs/            one file for each process, of this start
"""

import fcntl
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self


class Unusable(Exception):
    """The directory cannot be made or written, or another running system holds it. The text is one sentence."""


class StateDirectory:
    """A context manager: entering it takes the directory, leaving it takes back what is true only of a running system.

    Raises Unusable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = path / "env"
        self.logs = path / "logs"
        self.endpoints = path / "endpoints.json"
        self.sealing = path / "sealing"
        self._processes = path / "processes.json"
        self._lock = -1

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
            # The lock lasts as long as this process, however it ends. Children do not inherit it.
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unusable(f"{self.path} cannot be the state directory: {error.strerror}.") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._lock, 20).decode().strip()
            os.close(self._lock)
            raise Unusable(
                f"{self.path} belongs to a system that is running (process {holder}); "
                'stop that one, or name another directory: make run ARGS="--port 8001 --state-dir .local/second"'
            ) from None
        os.truncate(self._lock, 0)
        os.write(self._lock, str(os.getpid()).encode())
        self._forget()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()
        os.close(self._lock)

    def write_env(self, variables: Mapping[str, str]) -> None:
        """Atomically, readable by the owner alone."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        _write_privately(self.env, "".join(lines))

    def write_processes(self, pids: Mapping[str, int]) -> None:
        _write_privately(self._processes, json.dumps(pids, indent=2) + "\n")

    def _forget(self) -> None:
        self.env.unlink(missing_ok=True)
        self._processes.unlink(missing_ok=True)


def _write_privately(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600, exist_ok=False)
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
