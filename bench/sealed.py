"""`python -m bench.sealed`: requests in the clear beside each sealed mode, in one run; and the enclave alone.

Everything is started by the bench, measured in interleaved rounds, and stopped at the end.
"""

import argparse
import asyncio
import json
import platform
from pathlib import Path

from bench import sealed_system
from bench.processes import stop_when_told
from bench.sealed_channel import measure_alone, new_key_configuration
from bench.sealed_modes import Mode, modes
from bench.sealed_report import CROWD, SHAPES, SMALL, Seen, print_report
from bench.sealed_rounds import Shape, body, measure
from bench.sealed_system import System
from bench.table import how_busy, when_and_where

ROUNDS = 8

# To the enclave alone, in each round. In esdk each request is a few calls of KMS.
REQUESTS = {"hpke": 300, "esdk": 16}
STREAMS = 3


async def compare(rounds: int) -> Seen:
    """Start everyone, measure in turn, stop everyone. Raises: RuntimeError, BadAnswer, OSError, TimeoutError."""
    seen = Seen()
    with sealed_system.running() as system:
        columns = modes(system.kms, system.kms_key, new_key_configuration(system))
        print("warming up ...", flush=True)
        await _round(system, columns, Seen())
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds} ...", flush=True)
            await _round(system, columns, seen)
    return seen


async def _round(system: System, columns: tuple[Mode, ...], seen: Seen) -> None:
    for shape in SHAPES:
        for title, figures in (await measure(system, [each for each in columns if _fits(each, shape)], shape)).items():
            seen.through[shape, title].append(figures)
    for mode in columns:
        if mode.name in REQUESTS:
            requests = REQUESTS[mode.name]
            alone = measure_alone(system, mode, body(SMALL), requests=requests, crowd=CROWD, streams=STREAMS)
            seen.alone[mode.title].append(alone)


def _fits(mode: Mode, shape: Shape) -> bool:
    """Mode kms takes 4,096 bytes, and has no streams."""
    return mode.name != "kms" or shape is SMALL


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.sealed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    stop_when_told()
    seen = asyncio.run(compare(options.rounds))
    print(
        f"\n{when_and_where()}, Python {platform.python_version()}; "
        f"medians of {options.rounds} rounds, one request at a time; "
        f"{how_busy(alone=1.5)}\n"
    )
    print_report(seen)
    if options.json:
        options.json.write_text(json.dumps(seen.tables(), indent=2) + "\n")


if __name__ == "__main__":
    main()
