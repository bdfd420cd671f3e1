"""How much a test tries that tries a lot: all of it, unless the profile of Hypothesis asks for fewer examples."""

from collections.abc import Sequence

from hypothesis import settings

USUAL = 100  # Hypothesis's own number of examples


def examples(number: int) -> int:
    """So many examples of a property for which the usual number would be too few or too many."""
    return max(1, number * settings().max_examples // USUAL)


def every(places: Sequence[int]) -> Sequence[int]:
    """Each of the places where something is changed or cut; every tenth for a tenth of the examples."""
    return places[:: max(1, USUAL // settings().max_examples)]
