"""`python -m bench.guarded`: a tenant with rules whose member has a token, beside one without and with a key.

Both are this tree's gateway, started anew for each round, and take turns in it. The rules (`tenant.RULES`) are ten
patterns for prompts and for answers, tools and a longest prompt; and the tenant lists where its callers come from.
"""

import argparse
import asyncio
import json
import platform
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench import contestants, environments, goals, tenant, worktree
from bench.pairs import cell, quartiles, ratio
from bench.processes import stop_when_told
from bench.rounds import CROWD, STREAMS, Figures, measure_in_turns
from bench.table import Row, how_busy, print_lines, when_and_where
from bench.tokens import Signer
from bench.upstream import CHUNKS, PACE_S

ROUNDS = 9

ROWS = (
    Row("alone_cpu_ms", "CPU per request, 1 at a time", "ms"),
    Row("cpu_ms", f"CPU per request, {CROWD} at a time", "ms"),
    Row("stream_cpu_ms", f"CPU per {CHUNKS}-chunk stream (paced), {STREAMS} at a time", "ms"),
    Row("chunk_cpu_us", "CPU per streamed chunk (paced)", "us"),
    Row("burst_chunk_cpu_us", "CPU per streamed chunk (all at once)", "us"),
    Row("p50_ms", "latency p50, 1 at a time", "ms"),
    Row("first_ms", "time to first chunk p50 (paced)", "ms"),
)


async def compare(rounds: int) -> tuple[list[Figures], list[Figures]]:
    """Round by round: with rules, without."""
    signer = Signer()
    guarded: list[Figures] = []
    plain: list[Figures] = []
    with contestants.upstream(signer.jwks) as upstream:
        token = signer.token(tenant.issuer_of(upstream))
        for turn in range(rounds + 1):
            print(f"round {turn} of {rounds} ..." if turn else "one round that is not counted ...", flush=True)
            with_rules, without = await _round(upstream, token)
            if turn:
                guarded.append(with_rules)
                plain.append(without)
    return guarded, plain


async def _round(upstream: int, token: str) -> list[Figures]:
    keys = tenant.new_key(tenant.GUARDED), tenant.new_key()
    with ExitStack() as stack:
        one, other = (stack.enter_context(contestants.dynamodb(upstream, key)) for key in keys)
        running = []
        for each in (contestants.guarded(one, upstream, keys[0], token), contestants.cloister(other, keys[1])):
            program, _ = await contestants.started(each)
            stack.callback(program.stop)
            running.append((each, program))
        return await measure_in_turns(running)


def print_comparison(guarded: Sequence[Figures], plain: Sequence[Figures]) -> None:
    lines = [["", "unit", "without", "with rules, by token", "with / without", "more"]]
    for row in ROWS:
        mine, theirs = _column(guarded, row), _column(plain, row)
        more = quartiles([one - other for one, other in zip(mine, theirs, strict=True)])
        figures = (cell(quartiles(theirs)), cell(quartiles(mine)), cell(ratio(mine, theirs), places=3), cell(more))
        lines.append([row.title, row.unit, *figures])
    print_lines(lines)


def _column(rounds: Sequence[Figures], row: Row) -> list[float]:
    return [getattr(figures, row.key) for figures in rounds]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.guarded", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="write the rounds' figures there too")
    options = parser.parse_args()
    stop_when_told()
    try:
        guarded, plain = asyncio.run(compare(options.rounds))
    except environments.NotInstallable as error:
        sys.exit(str(error))
    print(
        f"\n{when_and_where()}, Python {platform.python_version()}, "
        f"{worktree.head(environments.ROOT)}; medians (and quartiles) of {options.rounds} rounds, ratios and "
        f"differences by round; chunks paced by {PACE_S * 1_000:.0f} ms; "
        f"{how_busy(alone=2)}\n"
    )
    print_comparison(guarded, plain)
    goals.print_goals(goals.of_guarded(guarded, plain))
    if options.json:
        rounds = {"guarded": [asdict(each) for each in guarded], "plain": [asdict(each) for each in plain]}
        options.json.write_text(json.dumps(rounds, indent=2) + "\n")


if __name__ == "__main__":
    main()
