"""Processes that never outlive the supervisor.

Each has a session of its own, so that Ctrl-C in the terminal reaches the supervisor alone, which then stops them in
order. Should the supervisor be killed, Linux tells them to end (PR_SET_PDEATHSIG).
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LOOKS_FOR_ORPHANS = 100
_LOOK_AGAIN_S = 0.01
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Process:
    """A running child. `exited` is done once it is gone, with its exit status as `ended()` reads it.

    `exited` is for `asyncio.wait`; whoever awaits it awaits `end()`: cancelling them must not cancel the watch itself,
    or the process counts as gone while it lives.
    """

    def __init__(self, name: str, child: asyncio.subprocess.Process, log: Path, log_begins: int) -> None:
        """`log_begins`: after so many bytes, which others before it have written."""
        self.name = name
        self.log = log
        self._log_begins = log_begins
        self.pid = child.pid
        self.exited: asyncio.Task[int] = asyncio.create_task(self._end(child), name=name)

    @property
    def running(self) -> bool:
        return not self.exited.done()

    async def end(self) -> int:
        """The exit status, once it is gone."""
        return await asyncio.shield(self.exited)

    def ended(self) -> str:
        """How it ended, to be read after `The gateway `."""
        status = self.exited.result()
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"stopped with status {status}"
        said = _last_line(self.log, self._log_begins)
        return f"{how}{f', saying: {said}' if said else ''} ({self.log})"

    async def _end(self, child: asyncio.subprocess.Process) -> int:
        status = await child.wait()
        # What it had started itself must not go on without it. It is gone soon, but not at once, and nobody tells; a
        # zombie that nobody buries counts as there, so that this must end by itself.
        with suppress(ProcessLookupError):
            for _ in range(_LOOKS_FOR_ORPHANS):
                os.killpg(self.pid, signal.SIGKILL)
                await asyncio.sleep(_LOOK_AGAIN_S)
        return status

    def signal(self, number: signal.Signals) -> None:
        """To the process and whatever it started."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


async def start(
    name: str,
    command: Sequence[str],
    *,
    directory: Path,
    env: Mapping[str, str],
    log: Path,
    descriptors: Iterable[int] = (),
) -> Process:
    """Start `command`; its output is added to the file `log`, and it inherits these `descriptors` and no other."""
    with log.open("ab") as output:
        log_begins = output.tell()
        child = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=tuple(descriptors),
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),
        )
    return Process(name, child, log, log_begins)


async def stop(processes: Iterable[Process], patience_s: float) -> None:
    """SIGTERM to all; SIGKILL to those that are still there after `patience_s`, and to their own children."""
    chosen = [process for process in processes if process.running]
    for process in chosen:
        process.signal(signal.SIGTERM)
    if chosen:
        await asyncio.wait({process.exited for process in chosen}, timeout=patience_s)
    for process in chosen:
        process.signal(signal.SIGKILL)
        await process.end()


def _die_with(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        if _LIBC is not None:
            # Not SIGKILL: a container has engines of its own to end.
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return prepare


def _last_line(log: Path, begins: int) -> str:
    lines = log.read_bytes()[begins:].decode(errors="replace").split("\n") if log.exists() else []
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
