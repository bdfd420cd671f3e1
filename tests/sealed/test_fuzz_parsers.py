"""Whatever comes in from outside, a parser reads it or refuses it, and nothing else happens."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sealed.refusal import DocumentRefused
from tests.patience import PATIENCE_S
from tests.sealed.fuzz import Parser, fuzz
from tests.sealed.fuzzing import PARSERS, REPORT

FUZZ_SECONDS = 10  # all of them together; `make fuzz` takes longer


@pytest.fixture(scope="module")
def reports() -> dict[str, str]:
    """What the fuzzing of each parser came to."""
    fuzzing = subprocess.Popen(
        [sys.executable, "-m", "tests.sealed.fuzzing", str(FUZZ_SECONDS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    try:
        said, _ = fuzzing.communicate(timeout=FUZZ_SECONDS + PATIENCE_S)
    finally:
        if fuzzing.poll() is None:
            os.killpg(fuzzing.pid, signal.SIGKILL)
            fuzzing.communicate()
    reported = dict(each.partition(": ")[::2] for each in re.split(f"^{REPORT}", said, flags=re.MULTILINE)[1:])
    assert reported.keys() == PARSERS.keys(), said
    return reported


@pytest.mark.parametrize("parser", PARSERS)
def test_broken_bytes_are_refused_and_nothing_else_happens(parser: str, reports: dict[str, str]) -> None:
    assert re.fullmatch(rf"[1-9]\d* inputs in {FUZZ_SECONDS} s\n", reports[parser]), reports[parser]


def test_the_fuzzer_tells_what_was_not_declared() -> None:
    def fails(data: bytes) -> None:
        raise IndexError("not declared")

    with pytest.raises(AssertionError, match=r"seed 1, input 0: 6162\n[^$]*IndexError: not declared"):
        fuzz(Parser(lambda chance: b"ab", fails, DocumentRefused), seconds=1, seed=1)
