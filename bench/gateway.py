"""`python -m bench.gateway`: Cloister beside LiteLLM's proxy and smg, in one run, as one table.

Everything is started by the bench, measured in interleaved rounds, and stopped at the end.
"""

import argparse
import asyncio
import json
import platform
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import cold_start, contestants, environments, goals, tenant
from bench.contestants import Contestant
from bench.processes import Program, stop_when_told
from bench.rounds import CROWD, STREAMS, Figures, measure, medians
from bench.table import Row, how_busy, print_table, when_and_where
from bench.upstream import CHUNKS, PACE_S

ROUNDS = 5
STARTS = 3


class Measured:
    """One contestant while it runs: its process, its start times and its rounds."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant
        self.program: Program | None = None
        self.starts_s: list[float] = []
        self.rounds: list[Figures] = []
        self.memory_mb = (0.0, 0.0)

    async def start(self) -> None:
        """Start it STARTS times, and leave the last one running."""
        for turn in range(STARTS):
            self.program, seconds = await contestants.started(self.contestant)
            self.starts_s.append(seconds)
            if turn < STARTS - 1:
                self.program.stop()

    def stop(self) -> None:
        if self.program is not None:
            self.program.stop()

    def row(self, direct: list[Figures]) -> dict[str, float]:
        """The figures of the table; latencies are what it adds to the upstream's own in the same round."""
        own = medians(self.rounds)

        def added(name: str) -> float:
            pairs = zip(self.rounds, direct, strict=True)
            over: list[float] = [getattr(mine, name) - getattr(theirs, name) for mine, theirs in pairs]
            return statistics.median(over)

        return {
            "p50": added("p50_ms"),
            "p99": added("p99_ms"),
            "per_s": own.per_s,
            "cpu": own.cpu_ms,
            "alone_cpu": own.alone_cpu_ms,
            "first": added("first_ms"),
            "burst_first": added("burst_first_ms"),
            "stream_cpu": own.stream_cpu_ms,
            "chunk_cpu": own.chunk_cpu_us,
            "burst_cpu": own.burst_cpu_ms,
            "burst_chunk_cpu": own.burst_chunk_cpu_us,
            "rss": self.memory_mb[0],
            "pss": self.memory_mb[1],
            "start": statistics.median(self.starts_s),
        }


ROWS = (
    Row("p50", "added latency p50, 1 at a time", "ms"),
    Row("p99", "added latency p99, 1 at a time", "ms"),
    Row("per_s", f"requests/s of one process, {CROWD} at a time", "1/s", more_is_better=True),
    Row("cpu", f"CPU per request, {CROWD} at a time", "ms"),
    Row("alone_cpu", "CPU per request, 1 at a time", "ms"),
    Row("first", "added time to first chunk p50 (paced)", "ms"),
    Row("burst_first", "added time to first chunk p50 (all at once)", "ms"),
    Row("stream_cpu", f"CPU per {CHUNKS}-chunk stream (paced), {STREAMS} at a time", "ms"),
    Row("chunk_cpu", "CPU per streamed chunk (paced)", "us"),
    Row("burst_cpu", f"CPU per {CHUNKS}-chunk stream (all at once), {STREAMS} at a time", "ms"),
    Row("burst_chunk_cpu", "CPU per streamed chunk (all at once)", "us"),
    Row("rss", "resident memory after the load (RSS)", "MB"),
    Row("pss", "resident memory after the load (PSS)", "MB"),
    Row("start", "start to first answer", "s"),
)


async def compare(rounds: int, without: Sequence[str]) -> dict[str, dict[str, float]]:
    """Start everyone, measure in turn, stop everyone."""
    key = tenant.new_key()
    with ExitStack() as stack:
        upstream = stack.enter_context(contestants.upstream())
        everyone: list[Measured] = []
        if "bare" not in without:
            everyone.append(Measured(contestants.litellm("bare", upstream)))
        if "governed" not in without:
            redis = stack.enter_context(contestants.redis())
            everyone.append(Measured(contestants.litellm("governed", upstream, redis)))
        if "smg" not in without:
            everyone.append(Measured(contestants.smg(upstream)))
        if "cloister" not in without:
            dynamodb = stack.enter_context(contestants.dynamodb(upstream, key))
            everyone.append(Measured(contestants.cloister(dynamodb, key)))
        for measured in everyone:
            stack.callback(measured.stop)
            print(f"starting {measured.contestant.name} ...", flush=True)
            await measured.start()
        direct: list[Figures] = []
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds} ...", flush=True)
            direct.append(await measure(contestants.direct(upstream), None))
            # Turn about, so that nobody always follows the same neighbour.
            for measured in everyone[turn % len(everyone) :] + everyone[: turn % len(everyone)]:
                assert measured.program is not None
                measured.rounds.append(await measure(measured.contestant, measured.program))
        for measured in everyone:
            assert measured.program is not None
            measured.memory_mb = measured.program.memory_mb()
        return {measured.contestant.name: measured.row(direct) for measured in everyone}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--without", action="append", default=[], choices=["bare", "governed", "smg", "cloister"])
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    stop_when_told()
    try:
        figures = asyncio.run(compare(options.rounds, options.without))
    except environments.NotInstallable as error:
        sys.exit(str(error))
    there = {"LiteLLM": {"bare", "governed"} - set(options.without), "smg": {"smg"} - set(options.without)}
    peers = {name: name.lower() for name, measured in there.items() if measured}
    versions = [f"{name} {environments.version(environments.python(peer), peer)}" for name, peer in peers.items()]
    versions.insert(0, f"Python {platform.python_version()}")
    print(
        f"\n{when_and_where()}, {', '.join(versions)}; "
        f"medians of {options.rounds} rounds; chunks paced by {PACE_S * 1000:.0f} ms; {how_busy(alone=2)}\n"
    )
    print_table(ROWS, figures, ours=goals.OURS)
    goals.print_goals(goals.of_gateways(figures))
    if "cloister" not in options.without:
        print("\nThe Lambda handler, without the platform's share:\n")
        print_table(cold_start.ROWS, {"Cloister": cold_start.measure(cold_start.RUNS)}, ours="Cloister")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
