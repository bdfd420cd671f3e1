"""`python -m bench.commits COMMIT`: this tree beside another commit of Cloister, in one run, as one table.

Both are started anew for each round, each with a DynamoDB of its own, and take turns in it. The other commit's code
runs from a worktree of it; upstream, DynamoDB, tenant and client are this tree's. It installs no peer.
"""

import argparse
import asyncio
import json
import platform
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import cold_start, contestants, environments, tenant, worktree
from bench.contestants import Contestant
from bench.pairs import cell, quartiles, ratio, verdict
from bench.processes import Program, stop_when_told
from bench.rounds import CROWD, STREAMS, measure_in_turns
from bench.table import Row, how_busy, print_lines, when_and_where
from bench.upstream import CHUNKS, PACE_S

ROUNDS = 33
FEWEST_ROUNDS = 9

# Latencies are what the client sees, with the upstream's own.
GATEWAY = (
    Row("alone_cpu_ms", "CPU per request, 1 at a time", "ms"),
    Row("cpu_ms", f"CPU per request, {CROWD} at a time", "ms"),
    Row("stream_cpu_ms", f"CPU per {CHUNKS}-chunk stream (paced), {STREAMS} at a time", "ms"),
    Row("chunk_cpu_us", "CPU per streamed chunk (paced)", "us"),
    Row("burst_cpu_ms", f"CPU per {CHUNKS}-chunk stream (all at once), {STREAMS} at a time", "ms"),
    Row("p50_ms", "latency p50, 1 at a time", "ms"),
    Row("p99_ms", "latency p99, 1 at a time", "ms"),
    Row("per_s", f"requests/s of one process, {CROWD} at a time", "1/s", more_is_better=True),
    Row("first_ms", "time to first chunk p50 (paced)", "ms"),
    Row("burst_first_ms", "time to first chunk p50 (all at once)", "ms"),
    Row("rss_mb", "resident memory after the load (RSS)", "MB"),
    Row("pss_mb", "resident memory after the load (PSS)", "MB"),
    Row("start_s", "start to first answer", "s"),
)
HANDLER = cold_start.ROWS

Figures = dict[str, float]  # by the key of a row


@dataclass
class Version:
    """One of the two: where its code is, and what each round found."""

    name: str
    at: Path
    gateway: list[Figures] = field(default_factory=list)
    handler: list[Figures] = field(default_factory=list)


@dataclass(frozen=True)
class _Running:
    version: Version
    contestant: Contestant
    program: Program
    start_s: float
    dynamodb_port: int
    key: str

    def handler_start(self) -> Figures:
        return cold_start.once(self.dynamodb_port, self.key, at=self.version.at)


async def compare(now: Version, before: Version, rounds: int) -> None:
    """Measure, into the versions."""
    with contestants.upstream() as upstream:
        for turn in range(rounds + 1):
            print(f"round {turn} of {rounds} ..." if turn else "one round that is not counted ...", flush=True)
            await _round(upstream, (now, before) if turn % 2 else (before, now))
            if not turn:  # it compiled what was never imported
                for version in (now, before):
                    version.gateway.clear()
                    version.handler.clear()


async def _round(upstream: int, order: Sequence[Version]) -> None:
    with ExitStack() as stack:
        running = []
        for version in order:
            key = tenant.new_key()
            port = stack.enter_context(contestants.dynamodb(upstream, key))
            contestant = contestants.cloister(port, key, name=version.name, at=version.at)
            program, start_s = await contestants.started(contestant)
            stack.callback(program.stop)
            running.append(_Running(version, contestant, program, start_s, port, key))
        measured = await measure_in_turns([(each.contestant, each.program) for each in running])
        for each, figures in zip(running, measured, strict=True):
            rss_mb, pss_mb = each.program.memory_mb()
            beside = {"rss_mb": rss_mb, "pss_mb": pss_mb, "start_s": each.start_s}
            found = {row.key: getattr(figures, row.key) for row in GATEWAY if row.key not in beside}
            each.version.gateway.append(found | beside)
        for each in running:
            each.program.stop()
        # There and back, since the first start after the load is the slowest.
        there = [each.handler_start() for each in running]
        back = [each.handler_start() for each in reversed(running)]
        for each, one, other in zip(running, there, reversed(back), strict=True):
            each.version.handler.append({row.key: (one[row.key] + other[row.key]) / 2 for row in HANDLER})


def print_comparison(rows: Sequence[Row], now: list[Figures], before: list[Figures]) -> None:
    lines = [["", "unit", "before", "now", "now / before", ""]]
    for row in rows:
        mine, theirs = _column(now, row), _column(before, row)
        found = ratio(mine, theirs)
        figures = (cell(quartiles(theirs)), cell(quartiles(mine)), cell(found, places=3))
        lines.append([row.title, row.unit, *figures, verdict(row, found)])
    print_lines(lines)


def as_json(rows: Sequence[Row], now: list[Figures], before: list[Figures]) -> dict[str, object]:
    """By the key of a row: medians, quartiles, the verdict, and each round."""
    found: dict[str, object] = {}
    for row in rows:
        mine, theirs = _column(now, row), _column(before, row)
        pairs = ratio(mine, theirs)
        found[row.key] = {
            "before": asdict(quartiles(theirs)),
            "now": asdict(quartiles(mine)),
            "ratio": asdict(pairs),
            "verdict": verdict(row, pairs),
            "rounds": {"before": theirs, "now": mine},
        }
    return found


def _column(rounds: list[Figures], row: Row) -> list[float]:
    return [figures[row.key] for figures in rounds]


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.commits", description=__doc__)
    parser.add_argument("commit", help="a commit, a branch or a tag of this repository")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args(arguments)
    if given.rounds < FEWEST_ROUNDS:
        parser.error(f"fewer than {FEWEST_ROUNDS} rounds have no quartiles worth printing")
    return given


def main() -> None:
    given = options(sys.argv[1:])
    stop_when_told()
    try:
        with worktree.beside(given.commit) as (commit, tree):
            now, before = Version("now", environments.ROOT), Version("before", tree)
            asyncio.run(compare(now, before, given.rounds))
    except (worktree.NoTree, environments.NotInstallable) as error:
        sys.exit(str(error))
    print(
        f"\n{when_and_where()}, Python {platform.python_version()}; "
        f"now: {worktree.head(environments.ROOT)}; before: {commit[:7]}; "
        f"medians (and quartiles) of {given.rounds} rounds, ratios by round; chunks paced by {PACE_S * 1_000:.0f} ms; "
        f"{how_busy(alone=2)}\n"
    )
    print_comparison(GATEWAY, now.gateway, before.gateway)
    print("\nThe Lambda handler, without the platform's share:\n")
    print_comparison(HANDLER, now.handler, before.handler)
    if given.json:
        figures = {
            "commit": commit,
            "gateway": as_json(GATEWAY, now.gateway, before.gateway),
            "handler": as_json(HANDLER, now.handler, before.handler),
        }
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
