"""Whatever comes in from outside, a parser reads it or refuses it, and nothing else happens."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealed.refusal import DocumentRefused
from tests.sealed.fuzz import PARSERS, Parser, fuzz

# For each parser, side by side. CI takes the minute; a developer may shorten it.
FUZZ_SECONDS = float(os.environ.get("CLOISTER_FUZZ_SECONDS", "60"))


@pytest.fixture(scope="module")
def fuzzers() -> Iterator[dict[str, subprocess.Popen[str]]]:
    started = {
        name: subprocess.Popen(
            [sys.executable, "-m", "tests.sealed.fuzz", name, str(FUZZ_SECONDS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for name in PARSERS
    }
    yield started
    for fuzzer in started.values():
        fuzzer.kill()
        fuzzer.communicate()


@pytest.mark.parametrize("parser", PARSERS)
def test_broken_bytes_are_refused_and_nothing_else_happens(
    parser: str, fuzzers: dict[str, subprocess.Popen[str]]
) -> None:
    told, _ = fuzzers[parser].communicate(timeout=FUZZ_SECONDS + 60)
    assert fuzzers[parser].returncode == 0, told


def test_the_fuzzer_tells_what_was_not_declared() -> None:
    def fails(data: bytes) -> None:
        raise IndexError("not declared")

    with pytest.raises(AssertionError, match=r"seed 1, input 0: 6162\n[^$]*IndexError: not declared"):
        fuzz(Parser(lambda chance: b"ab", fails, DocumentRefused), seconds=1, seed=1)
