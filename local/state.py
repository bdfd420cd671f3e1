"""The state directory: one running system holds it; what scripts need to know of that system is in it.

cloud.sqlite     what is made in the local cloud: tables, users, KMS keys, secrets; kept from start to start
mails/           what was mailed since the start, a file each
people.sqlite    who can sign in at the local cloud, and the keys that its tokens are signed with; kept
cloud.port       where the local cloud is, so that the issuer of its tokens is the same at the next start; kept
demo.json        the operator's and the demo tenant's keys, its people's passwords; kept, and only for its owner
sealing/         what the enclave, the containers and clients trust each other by; kept
bedrock.json     the API key of the local Bedrock; only while it runs, and only for its owner
lock             held while the system runs
env              for `source`: where the system is, and its keys; only while it runs, and only for its owner
processes.json   name -> process id, while it runs
endpoints.json   what the local cloud knows of the containers
logs/            one file for each process, of this start
"""

import fcntl
import json
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self


class Unusable(Exception):
    """The directory cannot be made or written, or another running system holds it. The text is one sentence."""


class StateDirectory:
    """A context manager: entering it takes the directory, leaving it takes back what is true only of a running system.

    `fresh` forgets what is kept from start to start. Raises Unusable.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self._fresh = fresh
        self.env = path / "env"
        self.logs = path / "logs"
        self.endpoints = path / "endpoints.json"
        self.sealing = path / "sealing"
        self.cloud = path / "cloud.sqlite"
        self.people = path / "people.sqlite"
        self.mails = path / "mails"
        self.cloud_port = path / "cloud.port"
        self.keys = path / "demo.json"
        self.bedrock_keys = path / "bedrock.json"
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
        self._end()
        shutil.rmtree(self.mails, ignore_errors=True)
        if self._fresh:
            self._forget()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        os.close(self._lock)

    def _forget(self) -> None:
        """All that is kept from start to start. The keys first: without them, what is left is made once more."""
        self.keys.unlink(missing_ok=True)
        self.cloud_port.unlink(missing_ok=True)
        for kept in (self.cloud, self.people):
            for beside in ("", "-wal", "-shm"):
                kept.with_name(kept.name + beside).unlink(missing_ok=True)
        shutil.rmtree(self.sealing, ignore_errors=True)

    def write_env(self, variables: Mapping[str, str]) -> None:
        """Atomically, readable by the owner alone."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        write_privately(self.env, "".join(lines))

    def write_processes(self, pids: Mapping[str, int]) -> None:
        write_privately(self._processes, json.dumps(pids, indent=2) + "\n")

    def _end(self) -> None:
        self.env.unlink(missing_ok=True)
        self.bedrock_keys.unlink(missing_ok=True)
        self._processes.unlink(missing_ok=True)


def write_privately(path: Path, text: str) -> None:
    """Whole or not at all, and readable by the owner alone."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600, exist_ok=False)
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
