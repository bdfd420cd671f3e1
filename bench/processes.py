"""Programs the bench starts, measures and stops. It signals no process that it did not start."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
STOP_S = 10.0


def as_deployed(environment: Mapping[str, str]) -> dict[str, str]:
    """This process's environment and that, in which what is started keeps its bytecode: deployed code is compiled, and
    where PYTHONDONTWRITEBYTECODE is set, a start would be measured that compiles everything each time."""
    ours = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**ours, **environment}


class Program:
    """A child process in a session of its own, its output in `log`. A context manager: leaving it stops it."""

    def __init__(self, command: Sequence[str | Path], *, environment: Mapping[str, str], log: Path, at: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                env=as_deployed(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=at,
                start_new_session=True,
            )
        self.log = log

    def __enter__(self) -> "Program":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self.child.pid

    def check_alive(self) -> None:
        """Raises RuntimeError with the end of its output when it has ended by itself."""
        if self.child.poll() is not None:
            raise RuntimeError(f"{self.child.args!r} ended with {self.child.returncode}:\n{self.tail()}")

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """SIGTERM to its process group, SIGKILL after STOP_S. Idempotent."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGTERM)
            try:
                self.child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def tree(self) -> list[int]:
        """Its own pid and those of all living descendants."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
                parents.setdefault(int(stat[1]), []).append(int(entry.name))
        found, queue = [], [self.child.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            queue += parents.get(pid, [])
        return found

    def cpu_s(self) -> float:
        """CPU seconds of the tree since its start, user and system: exact, but for ended children (to 10 ms)."""
        spent_s = 0.0
        for pid in self.tree():
            with suppress(OSError):  # it may end meanwhile
                spent_s += _cpu_ns(pid) / 1e9
            if (stat := _stat(pid)) is not None:
                spent_s += sum(int(value) for value in stat[13:15]) * TICK_S
        return spent_s

    def own_cpu_ns(self) -> int:
        """CPU of the process itself since its start, all its threads; exact."""
        return _cpu_ns(self.child.pid)

    def peak_mb(self) -> float:
        """The most that its processes have had resident, each at its own time, in MB (10^6 bytes)."""
        return sum(map(_peak_kb, self.tree())) * 1024 / 1e6

    def memory_mb(self) -> tuple[float, float]:
        """Resident and proportional memory of the tree, in MB (10^6 bytes)."""
        rss = pss = 0
        for pid in self.tree():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    rss += int(line.split()[1])
                elif line.startswith("Pss:"):
                    pss += int(line.split()[1])
        return rss * 1024 / 1e6, pss * 1024 / 1e6


def _peak_kb(pid: int) -> int:
    """The most resident memory that a process has had. 0: it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def _cpu_ns(pid: int) -> int:
    """CPU of a process since its start, all its threads, without its children. Raises OSError when it is gone."""
    # The clock that clock_getcpuclockid(3) gives: Linux's MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED).
    return time.clock_gettime_ns(~pid << 3 | 2)


def _stat(pid: int) -> list[str] | None:
    """/proc/<pid>/stat from the state on ([0]); [1] is the parent, [13:15] the ticks of ended children. None: gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def stop_when_told() -> None:
    """SIGTERM and SIGHUP end the bench as Ctrl-C does: what it started is stopped on the way out."""
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda number, _: sys.exit(128 + number))


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_listening(program: Program, port: int, *, within_s: float = 30.0) -> None:
    """Return when something listens on the port. Raises RuntimeError (it ended), TimeoutError."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        program.check_alive()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on {port}:\n{program.tail()}")
