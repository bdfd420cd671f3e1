"""What is said of two that were measured in turn."""

import pytest

from bench.pairs import Quartiles, cell, quartiles, ratio, verdict
from bench.table import Row

TIME = Row("cpu", "CPU per request", "ms")
PER_SECOND = Row("per_s", "requests/s", "1/s", more_is_better=True)
MEMORY = Row("rss", "resident memory", "MB")


def test_half_of_the_rounds_lie_within_the_quartiles() -> None:
    assert quartiles([9, 1, 2, 8, 3, 7, 4, 6, 5]) == Quartiles(low=3, median=5, high=7)


def test_one_wild_round_moves_no_quartile() -> None:
    assert quartiles([1, 2, 3, 4, 5, 6, 7, 8, 9_000]) == Quartiles(low=3, median=5, high=7)


def test_ratios_are_made_within_a_round_so_that_a_slow_machine_is_no_difference() -> None:
    before = [1.0, 4.0, 2.0, 8.0, 1.5]
    assert ratio(before, before) == Quartiles(1, 1, 1)
    assert ratio([2 * figure for figure in before], before) == Quartiles(2, 2, 2)


def test_ratios_need_as_many_rounds_of_both() -> None:
    with pytest.raises(ValueError):
        ratio([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("low, median, high", [(0.7, 0.9, 1.1), (0.99, 1.2, 1.4), (1.0, 1.1, 1.2), (0.8, 0.9, 1.0)])
def test_a_difference_inside_the_quartiles_is_none(low: float, median: float, high: float) -> None:
    for row in (TIME, PER_SECOND, MEMORY):
        assert verdict(row, Quartiles(low, median, high)) == "same"


@pytest.mark.parametrize("low, median, high", [(1.01, 1.02, 1.05), (0.95, 0.98, 0.99), (1.02, 1.03, 1.04)])
def test_a_difference_of_at_most_3_percent_is_said_to_be_that(low: float, median: float, high: float) -> None:
    assert verdict(TIME, Quartiles(low, median, high)) == "within 3 %"


@pytest.mark.parametrize(
    "row, median, said",
    [
        (TIME, 1.05, "slower by 5.0 %"),
        (TIME, 0.9, "faster by 10.0 %"),
        (PER_SECOND, 0.9, "slower by 10.0 %"),
        (PER_SECOND, 1.05, "faster by 5.0 %"),
        (MEMORY, 1.05, "larger by 5.0 %"),
        (MEMORY, 0.9, "smaller by 10.0 %"),
    ],
)
def test_a_larger_difference_is_named_in_words(row: Row, median: float, said: str) -> None:
    assert verdict(row, Quartiles(median - 0.01, median, median + 0.01)) == said


def test_a_cell_has_the_median_and_the_quartiles() -> None:
    assert cell(Quartiles(1.234, 12.34, 1_234)) == "12.3 (1.23 to 1,234)"
    assert cell(Quartiles(0.98, 1, 1.0104), places=3) == "1.000 (0.980 to 1.010)"
