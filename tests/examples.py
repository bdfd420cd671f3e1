"""How much a test tries that tries a lot: all of it, unless the profile of Hypothesis asks for fewer examples."""

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import settings

T = TypeVar("T")

USUAL = 100  # Hypothesis's own number of examples


def examples(number: int) -> int:
    """So many examples of a property for which the usual number would be too few or too many."""
    return max(1, number * settings().max_examples // USUAL)


def every(cases: Sequence[T], turn: int = 0) -> Sequence[T]:
    """All that one test tries in turn, as the places where something is cut; every tenth for a tenth of the examples.

    Tests with the same cases and a `turn` each, as one for each door, try other tenths, and together all.
    """
    step = max(1, USUAL // settings().max_examples)
    return cases[turn % min(step, len(cases)) :: step]
