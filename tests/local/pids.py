"""Processes by their ids, for tests that must not leave any."""

import subprocess
from collections.abc import Iterable
from pathlib import Path
from time import monotonic, sleep

PATIENCE_S = 10


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    return [pid, *(each for child in children for each in family(int(child)))]


def await_gone(pids: Iterable[int]) -> None:
    """Nobody tells when a process that is not our child has ended, so this one looks again and again."""
    until = monotonic() + PATIENCE_S
    while left := [pid for pid in pids if _is_there(pid)]:
        assert monotonic() < until, f"still there: {left}"
        sleep(0.01)


def _is_there(pid: int) -> bool:
    """A zombie is gone: it only waits for whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
