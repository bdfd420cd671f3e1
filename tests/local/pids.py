"""Processes by their ids, for tests that must not leave any."""

import subprocess
from collections.abc import Iterable

from tests.patience import until


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    everybody = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = [tuple(map(int, line.split())) for line in everybody.splitlines()]

    def descend(ancestor: int) -> list[int]:
        return [ancestor, *(each for child, parent in parents if parent == ancestor for each in descend(child))]

    return descend(pid)


def await_gone(pids: Iterable[int]) -> None:
    """Nobody tells when a process that is not our child has ended, so this one looks again and again."""
    everyone = list(pids)
    until(lambda: left_of(everyone), lambda left: not left)


def left_of(pids: Iterable[int]) -> list[int]:
    """Those that are there at this moment."""
    return [pid for pid in pids if _is_there(pid)]


def command_line(pid: int) -> str:
    return _ps("command", "-p", pid)


def _is_there(pid: int) -> bool:
    """A zombie is gone: it only waits for whoever inherited it."""
    state = _ps("stat", "-p", pid)
    return bool(state) and not state.startswith("Z")


def _ps(column: str, selector: str, pid: int) -> str:
    return subprocess.run(
        ["ps", "-ww", "-o", f"{column}=", selector, str(pid)], capture_output=True, text=True
    ).stdout.strip()
