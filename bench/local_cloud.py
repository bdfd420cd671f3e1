"""`python -m bench.local_cloud COMMIT`: the local system of this tree beside that of another commit, in one run.

Both are started; requests go to the one and to the other in turns, so that what else the machine does weighs on both.
Printed are the requests a second, the local cloud's CPU for each, and its memory before and after.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import httpx

from bench import worktree
from bench.table import print_lines

REQUESTS, BLOCK, CALLERS = 4_000, 200, 4
ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_KB = os.sysconf("SC_PAGE_SIZE") / 1024


class System:
    """A local system that runs, and what its cloud has used so far."""

    def __init__(self, name: str, state: Path) -> None:
        self.name = name
        lines = (line.removeprefix("export ").partition("=") for line in (state / "env").read_text().splitlines())
        env = {key: value.strip("'") for key, _, value in lines}
        self._cloud = json.loads((state / "processes.json").read_text())["cloud"]
        self._path = f"/tenants/{env['CLOISTER_TENANT']}/v1/chat/completions"
        self._http = httpx.Client(
            base_url=env["CLOISTER_BASE_URL"],
            headers={"authorization": f"Bearer {env['CLOISTER_API_KEY']}"},
            trust_env=False,
            timeout=60,
        )
        limits = {"rates": [], "budgets": [], "in_flight": 2 * CALLERS}  # nobody measures how the demo tenant is denied
        admin = {"authorization": f"Bearer {env['CLOISTER_ADMIN_KEY']}"}
        path = f"/admin/tenants/{env['CLOISTER_TENANT']}"
        self._http.patch(path, headers=admin, json={"limits": limits}).raise_for_status()
        self.per_s: list[float] = []
        self.cpu_ms: list[float] = []

    def block(self, requests: int) -> None:
        """So many requests, measured."""
        began, used = time.monotonic(), self._cpu_s()
        with ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(self._ask, range(requests)))
        self.per_s.append(requests / (time.monotonic() - began))
        self.cpu_ms.append((self._cpu_s() - used) * 1_000 / requests)

    def rss_mb(self) -> float:
        return int(Path(f"/proc/{self._cloud}/statm").read_text().split()[1]) * _PAGE_KB / 1024

    def _ask(self, _: int) -> None:
        body = {"model": "demo", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
        answer = self._http.post(self._path, json=body)
        assert answer.is_success, f"{self.name}: {answer.text}"

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._cloud}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def running(name: str, at: Path) -> Iterator[System]:
    with tempfile.TemporaryDirectory(prefix="cloister-bench-") as folder:
        command = [sys.executable, "-m", "local", "--port", "0", "--state-dir", folder]
        process = subprocess.Popen(
            command,
            cwd=at,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "CLOISTER_STORE_DEADLINE_MS": "10000"},
        )
        assert process.stdout is not None
        try:
            while "Ctrl-C" not in (line := process.stdout.readline()):
                assert line, f"{name} did not start"
            # It may write a line for each request, and must not wait for us.
            with ThreadPoolExecutor(1) as reader:
                reader.submit(process.stdout.read)
                try:
                    yield System(name, Path(folder))
                finally:
                    process.terminate()
        finally:
            process.terminate()
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.local_cloud", description=__doc__.splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="to each of the two")
    options = parser.parse_args()
    with ExitStack() as stack:
        of, before = stack.enter_context(worktree.beside(options.commit))
        systems = (
            stack.enter_context(running(of[:7], before)),
            stack.enter_context(running(worktree.head(ROOT), ROOT)),
        )
        print(f"{systems[0].name} beside {systems[1].name}, {options.requests} requests to each", flush=True)
        for system in systems:
            system.block(BLOCK)  # not counted
            system.per_s.clear()
            system.cpu_ms.clear()
        rss_mb = [[system.rss_mb()] for system in systems]
        for turn in range(options.requests // BLOCK):
            for system in systems if turn % 2 else systems[::-1]:
                system.block(BLOCK)
        for system, figures in zip(systems, rss_mb, strict=True):
            figures.append(system.rss_mb())
    rows = [["", "unit", "before", "now"]]
    rows.append(["requests/s, median of blocks", "1/s", *(f"{median(system.per_s):.1f}" for system in systems)])
    rows.append(["the cloud's CPU per request, median", "ms", *(f"{median(each.cpu_ms):.2f}" for each in systems)])
    rows.append(["the cloud's memory before the load (RSS)", "MB", *(f"{first:.0f}" for first, _ in rss_mb)])
    rows.append([f"after {options.requests} requests", "MB", *(f"{last:.0f}" for _, last in rss_mb)])
    grown = [(last - first) * 1024 / options.requests for first, last in rss_mb]
    rows.append(["more for each request", "KB", *(f"{each:.1f}" for each in grown)])
    print_lines(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
