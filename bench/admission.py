"""`python -m bench.admission`: one admit + settle of Cloister beside zae-limiter, on the same served DynamoDB.

Each scenario runs in a process of its own, in turn, on one tenant; the store is ministack.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import environments
from bench.contestants import LOGS, cloister_environment
from bench.limiter import BUCKET, BURST, CURVE_S, RATE
from bench.processes import Program, free_port, stop_when_told, wait_listening
from bench.table import Row, print_table, when_and_where

ROUNDS = 3
CROWD = 32
RUN_S = 120
CONTESTANTS = {
    "zae-limiter": ("zae_limiter", "bench.limiter_zae"),
    "Cloister": ("gateway", "bench.limiter_cloister"),
}
RUNS = (("cost", 1), ("cost", CROWD), ("bucket", 1), ("bucket", CROWD), ("curve", CROWD))


def _rows() -> tuple[Row, ...]:
    rows = []
    for threads in (1, CROWD):
        at = f"{threads} at a time"
        rows += [
            Row(f"cost {threads} calls", f"DynamoDB calls per admit + settle, {at}", ""),
            Row(f"cost {threads} cpu_us", f"CPU per admit + settle, {at}", "us"),
            Row(f"cost {threads} wall_us", f"wall time of the run per admit + settle, {at}", "us"),
            Row(f"cost {threads} latency_ms", f"latency p50 of admit + settle, {at}", "ms"),
            Row(f"cost {threads} lost", f"refused although nothing was short, {at}", "", compared=False),
        ]
    for threads in (1, CROWD):
        at = f"{threads} at a time"
        rows += [
            Row(f"bucket {threads} admitted", f"bucket of {BUCKET}: admitted, {at}", "", compared=False),
            Row(f"bucket {threads} excess", f"bucket of {BUCKET}: excess, {at}", "", compared=False),
            Row(f"bucket {threads} lost", f"bucket of {BUCKET}: lost, {at}", "", compared=False),
            Row(f"bucket {threads} calls", f"bucket of {BUCKET}: DynamoDB calls per attempt, {at}", ""),
        ]
    curve = f"{RATE}/s, bursts of {BURST}, for {CURVE_S:.0f} s, {CROWD} at a time"
    rows += [
        Row(f"curve {CROWD} admitted_percent", f"{curve}: admitted of what is allowed", "%", compared=False),
        Row(f"curve {CROWD} excess_percent", f"{curve}: excess", "%", compared=False),
        Row(f"curve {CROWD} lost_percent", f"{curve}: lost", "%", compared=False),
        Row(f"curve {CROWD} calls", f"{curve}: DynamoDB calls per attempt", ""),
    ]
    return tuple(rows)


ROWS = _rows()


@contextmanager
def store() -> Iterator[str]:
    """A served DynamoDB on loopback; yields its URL."""
    interpreter = environments.python("store")
    port = free_port()
    environment = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "dynamodb", "LOG_LEVEL": "ERROR"}
    home = environments.PLACE / "ministack"
    home.mkdir(parents=True, exist_ok=True)
    environment |= {"TMPDIR": str(home), "HOME": str(home)}
    with Program([interpreter, "-m", "ministack"], environment=environment, log=LOGS / "store.log", at=home) as program:
        wait_listening(program, port)
        yield f"http://127.0.0.1:{port}"


def run(interpreter: Path, module: str, url: str, scenario: str, threads: int) -> dict[str, float]:
    done = subprocess.run(
        [interpreter, "-m", module, url, scenario, str(threads)],
        cwd=environments.ROOT,
        env={**os.environ, **cloister_environment(0), "AWS_ENDPOINT_URL": url},
        capture_output=True,
        text=True,
        timeout=RUN_S,
    )
    if done.returncode:
        raise RuntimeError(f"{module} {scenario} {threads} failed:\n{done.stderr[-3000:]}")
    report: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return report


def compare(rounds: int) -> dict[str, dict[str, float]]:
    interpreters = {name: environments.python(place) for name, (place, _) in CONTESTANTS.items()}
    seen: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in CONTESTANTS}
    with store() as url:
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds} ...", flush=True)
            for scenario, threads in RUNS:
                for name, (_, module) in CONTESTANTS.items():
                    for key, value in run(interpreters[name], module, url, scenario, threads).items():
                        seen[name][f"{scenario} {threads} {key}"].append(value)
    return {name: {key: statistics.median(values) for key, values in figures.items()} for name, figures in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.admission", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    stop_when_told()
    try:
        figures = compare(options.rounds)
    except environments.NotInstallable as error:
        sys.exit(str(error))
    versions = ", ".join(
        f"{package} {environments.version(environments.python(place), package)}"
        for place, package in (("zae_limiter", "zae-limiter"), ("store", "ministack"))
    )
    print(f"\n{when_and_where()}, {versions}; medians of {options.rounds} rounds\n")
    print_table(ROWS, figures, ours="Cloister")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
