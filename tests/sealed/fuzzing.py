"""Fuzzes every parser of untrusted bytes in the sealed formats, side by side, for so many seconds:

    python -m tests.sealed.fuzzing 600

One report for each; ends with status 1 when anything happened that is not declared. What was found is repeated by
the seed that is told.
"""

import random
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.sealed import fuzz_documents, fuzz_wires
from tests.sealed.fuzz import fuzz

PARSERS = fuzz_documents.PARSERS | fuzz_wires.PARSERS
REPORT = "== "


def report(name: str, seconds: float) -> tuple[bool, str]:
    """Whether nothing was found, and what to say of it."""
    try:
        inputs = fuzz(PARSERS[name], seconds, random.randrange(2**32))
    except AssertionError as found:
        return False, f"{REPORT}{name}: {found}"
    return True, f"{REPORT}{name}: {inputs} inputs in {seconds:g} s"


def main(seconds: float) -> int:
    # Forked: each has what this one has imported, and only the names go over.
    with ProcessPoolExecutor(len(PARSERS), mp_context=get_context("fork")) as side_by_side:
        reports = list(side_by_side.map(report, PARSERS, [seconds] * len(PARSERS)))
    for _, said in reports:
        print(said)
    return 0 if all(sound for sound, _ in reports) else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
