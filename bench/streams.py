"""`python -m bench.streams [COMMIT]`: a thousand streams at once through Cloister, beside smg and another commit.

Each runs alone, in front of an engine of its own that paces its chunks as a model does. The streams are of as many
tenants as it takes, 64 of each: a new tenant's cap. Meanwhile somebody asks Cloister whether it lives.
"""

import argparse
import asyncio
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import contestants, environments, goals, tenant, worktree
from bench.contestants import Contestant
from bench.load import Request, ask, percentile, uncollected
from bench.processes import stop_when_told
from bench.streams_load import Held, hold
from bench.table import Row, how_busy, print_table, when_and_where

STREAMS, CHUNKS, PACE_MS = 1_000, 500, 20
OF_A_TENANT = 64
GRACE_S = 60.0  # for what is late; who waits for longer has not answered
ROWS = (
    Row("answered", "streams that came whole", "", more_is_better=True, compared=False),
    Row("first_p50", "first chunk, p50", "s"),
    Row("first_max", "first chunk, the last of all", "s"),
    Row("gap_p99", "between two chunks, p99", "ms"),
    Row("total_max", "the last stream's end", "s"),
    Row("rss", "resident memory, at most", "MB"),
    Row("cpu", "CPU per chunk", "us"),
    Row("live", "/live, the slowest answer", "ms", compared=False),
    Row("health", "/health, the slowest answer", "ms", compared=False),
)


@dataclass(frozen=True)
class Size:
    streams: int = STREAMS
    chunks: int = CHUNKS
    pace_ms: int = PACE_MS

    @property
    def within_s(self) -> float:
        return self.chunks * self.pace_ms / 1_000 + GRACE_S


async def measure(contestant: Contestant, keys: list[str], size: Size) -> dict[str, float]:
    """Start it, hold the streams, stop it. `keys`: whose the streams are in turn; none: nobody's."""
    program, _ = await contestants.started(contestant)
    with program:
        # Who opens a tenant and a connection first is not slow.
        await hold(contestant.port, _requests(contestant, keys, len(keys) or 1), size.within_s)
        with _probes(contestant) as slowest_ms:
            before_s = program.cpu_s()
            with uncollected():
                held = await hold(contestant.port, _requests(contestant, keys, size.streams), size.within_s)
            spent_s = program.cpu_s() - before_s
            live_ms, health_ms = slowest_ms()
        peak_mb = program.peak_mb()
    cpu_us = spent_s * 1e6 / max(1, _events(held))
    return {**_figures(held, size), "rss": peak_mb, "live": live_ms, "health": health_ms, "cpu": cpu_us}


def _requests(contestant: Contestant, keys: list[str], number: int) -> list[Request]:
    if contestant.key is None:
        return [ask(contestant.path, None, streamed=True)] * number
    own = tenant.tenant_of(contestant.key)
    made = [ask(contestant.path.replace(own, tenant.tenant_of(key)), key, streamed=True) for key in keys]
    return [made[at % len(made)] for at in range(number)]


@contextmanager
def _probes(contestant: Contestant) -> Iterator[Callable[[], tuple[float, float]]]:
    """Ask ours, meanwhile, whether it lives and how it is; what it yields tells the slowest answers, in ms."""
    if contestant.key is None:
        yield lambda: (0.0, 0.0)
        return
    command = [sys.executable, "-m", "bench.streams_liveness", str(contestant.port)]
    with subprocess.Popen(
        command, cwd=environments.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as asker:
        assert asker.stdin and asker.stdout
        asker.stdout.readline()

        def slowest() -> tuple[float, float]:
            said, _ = asker.communicate()
            live, health = map(float, said.split())
            return live, health

        yield slowest


def _events(held: list[Held]) -> int:
    return sum(each.events for each in held)


def _figures(held: list[Held], size: Size) -> dict[str, float]:
    """What the clients saw."""
    whole = [each for each in held if not each.wrong and each.events >= size.chunks]
    for wrong in sorted({each.wrong for each in held if each.wrong})[:3]:
        print(f"  not whole: {wrong}", flush=True)
    firsts = [each.first_ns for each in held if each.first_ns] or [0]
    return {
        "answered": len(whole),
        "first_p50": percentile(firsts, 0.5) / 1_000,
        "first_max": max(firsts) / 1e9,
        "gap_p99": percentile([gap for each in whole for gap in each.gaps_ns] or [0], 0.99),
        "total_max": max((each.total_ns for each in whole), default=0) / 1e9,
    }


async def of_smg(size: Size) -> dict[str, float]:
    with contestants.streaming_upstream(size.chunks, size.pace_ms) as upstream:
        return await measure(contestants.smg(upstream), [], size)


async def of_ours(size: Size, name: str, at: Path, interpreter: Path | None = None) -> dict[str, float]:
    keys = [tenant.new_key(f"{tenant.NAME}{number}") for number in range(-(-size.streams // OF_A_TENANT))]
    with ExitStack() as stack:
        upstream = stack.enter_context(contestants.streaming_upstream(size.chunks, size.pace_ms))
        dynamodb = stack.enter_context(contestants.dynamodb(upstream, ",".join(keys)))
        return await measure(
            contestants.cloister(dynamodb, keys[0], name=name, at=at, interpreter=interpreter), keys, size
        )


async def compare(size: Size, without: list[str], before: Path | None) -> dict[str, dict[str, float]]:
    """Everyone's figures, by name."""
    found: dict[str, dict[str, float]] = {}
    if "smg" not in without:
        print("smg ...", flush=True)
        found["smg"] = await of_smg(size)
    for name, tree in (("before", before), ("Cloister", environments.ROOT)):
        if tree is not None:
            print(f"{name} ...", flush=True)
            found[name] = await of_ours(size, name, tree)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    parser.add_argument("commit", nargs="?", help="a commit, a branch or a tag of this repository to measure, too")
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--chunks", type=int, default=CHUNKS)
    parser.add_argument("--pace-ms", type=int, default=PACE_MS)
    parser.add_argument("--without", action="append", default=[], choices=["smg"])
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    size = Size(given.streams, given.chunks, given.pace_ms)
    stop_when_told()
    before = ""
    try:
        with ExitStack() as stack:
            tree = None
            if given.commit:
                before, tree = stack.enter_context(worktree.beside(given.commit))
            figures = asyncio.run(compare(size, given.without, tree))
    except (worktree.NoTree, environments.NotInstallable) as error:
        sys.exit(str(error))
    print(
        f"\n{when_and_where()}, Python {platform.python_version()}; "
        f"{size.streams:,} streams at once, of {size.chunks} chunks, {size.pace_ms} ms apart; "
        + (f"before: {before[:7]}; " if before else "")
        + f"{how_busy(alone=3)}\n"
    )
    print_table(ROWS, figures, ours=goals.OURS)
    goals.print_goals(goals.of_streams(figures))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
