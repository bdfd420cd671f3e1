"""Metric math is worked out as AWS's own examples are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deployment.cloudwatch.expression import Unknown, Value, evaluate
from tests.deployment.cloudwatch.series import Name, Series, of_metric

POINTS = st.lists(st.none() | st.integers(-1_000, 1_000).map(float), min_size=4, max_size=4)


def series(*values: float | None) -> Series:
    return Series(tuple(None if value is None else float(value) for value in values))


def worked_out(text: str, **known: Series) -> Value:
    return evaluate(text, known, known)


def values(text: str, **known: Series) -> list[float | None]:
    found = worked_out(text, **known)
    assert isinstance(found, Series)
    return list(found.values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metric1 < metric2", [0, 0, 1, 0]),
        ("metric1 >= 30", [1, 0, 0, 0]),
        ("metric1 > 15 AND metric2 > 15", [1, 0, 0, 0]),
    ],
)
def test_aws_own_examples_of_operators(text: str, expected: list[float]) -> None:
    """Of the table *Comparison and logical operators*."""
    assert values(text, metric1=series(30, 20, 0, 0), metric2=series(20, None, 20, None)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IF(metric1, metric2, metric3)", [30, 0, 20, None, None]),
        ("IF(metric1, 5, metric3)", [5, 5, 20, None, None]),
        ("IF(metric1, metric2, 5)", [30, 0, 5, 5, None]),
        ("IF(metric1, metric2)", [30, 0, None, None, None]),
    ],
)
def test_aws_own_examples_of_if(text: str, expected: list[float | None]) -> None:
    metrics = {
        "metric1": series(1, 1, 0, 0, None),
        "metric2": series(30, None, 0, 0, 30),
        "metric3": series(0, 0, 20, None, 20),
    }
    assert values(text, **metrics) == expected


def test_what_is_missing_counts_as_zero_and_what_divides_by_zero_goes() -> None:
    assert values("100 * e / r", e=series(1, None, 2, None), r=series(4, 8, None, None)) == [25, 0, None, None]
    assert values("e / r", e=series(1), r=series(0)) == [None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * m", [7]),
        ("(1 + 2) * m", [9]),
        ("2 ^ 3 - m", [5]),
        ("-m + 10 - 1", [6]),
        ("m == 3 OR m == 4 AND m == 5", [1]),
        ("PERIOD(m) / m", [20]),
        ("CEIL(m / 2) - FLOOR(m / 2) + ABS(-m)", [4]),
    ],
)
def test_signs_bind_as_in_arithmetic(text: str, expected: list[float]) -> None:
    assert values(text, m=series(3)) == expected


def test_gaps_are_filled() -> None:
    sparse = series(None, 1, None, 3)
    assert values("FILL(m, 7)", m=sparse) == [7, 1, 7, 3]
    assert values("FILL(m, REPEAT)", m=sparse) == [None, 1, 1, 3]


def test_a_rate_is_by_the_second_since_the_value_before() -> None:
    assert values("RATE(m)", m=series(60, 120, None, 0)) == [None, 1, None, -1]
    assert values("DIFF(m)", m=series(60, 120, None, 0)) == [None, 60, None, -120]


def test_all_metrics_or_those_of_a_name_are_summed_over() -> None:
    metrics = {"errors_a": series(1, None, 3), "errors_b": series(10, None, None), "requests": series(100, 100, 100)}
    assert values("SUM(METRICS())", **metrics) == [111, 100, 103]
    assert values('SUM(METRICS("errors"))', **metrics) == [11, None, 3]
    assert values("MAX([errors_a, requests]) - MIN([errors_a, requests])", **metrics) == [99, 0, 97]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "STDDEV([m, m])",
            "SEARCH(m)",
            "ANOMALY_DETECTION_BAND(m)",
            "FILL(m, LINEAR)",
            "sum([m])",
            "METRIC_COUNT([m])",
        ),
        *("SUM(m)", "AVG(m)", "MAX(m)"),  # numbers, of more data than the alarm looks at
        *(
            "other",
            "m +",
            "m m",
            "(m",
            "IF(m)",
            "IF(1, m)",
            "[m, m] + [m]",
            "m ? 1",
            "PERIOD(1)",
            "1 / 0 * m",
            "ABS(m, m)",
        ),
    ],
)
def test_what_was_never_worked_out_here_is_an_error(text: str) -> None:
    with pytest.raises(Unknown):
        worked_out(text, m=series(1, 2))


def test_series_of_two_periods_are_not_mixed() -> None:
    with pytest.raises(Unknown, match="same period"):
        worked_out("a + b", a=series(1, 2), b=Series((1.0, 2.0), 300))


@given(POINTS, POINTS)
def test_a_share_is_there_exactly_where_something_is_whole(
    errors: list[float | None], requests: list[float | None]
) -> None:
    found = values("100 * e / r", e=Series(tuple(errors)), r=Series(tuple(requests)))
    for share, part, whole in zip(found, errors, requests, strict=True):
        assert share == (100 * (part or 0) / whole if whole else None)


@given(POINTS, POINTS)
def test_sums_do_not_depend_on_the_order(first: list[float | None], second: list[float | None]) -> None:
    a, b = Series(tuple(first)), Series(tuple(second))
    assert values("a + b", a=a, b=b) == values("b + a", a=a, b=b) == values("SUM([a, b])", a=a, b=b)


@given(POINTS)
def test_filling_leaves_no_gap_and_changes_nothing_else(points: list[float | None]) -> None:
    filled = values("FILL(m, 5)", m=Series(tuple(points)))
    assert filled == [5 if point is None else point for point in points]
    assert values("IF(m > 0, m, FILL(m, 5))", m=Series(tuple(points))) == points


@given(st.dictionaries(st.integers(0, 11).map(lambda minute: 60 * minute), st.lists(st.integers(1, 9)), max_size=12))
def test_periods_hold_every_sample_once(told: dict[int, list[int]]) -> None:
    samples = {at_s: [(float(value), 1) for value in seen] for at_s, seen in told.items()}
    whole = [value for seen in told.values() for value in seen]
    for period_s in (60, 180, 720):
        found = of_metric(samples, "Sum", period_s, 720, 720 // period_s)
        assert sum(value or 0 for value in found.values) == sum(whole)
    everything = {
        stat: of_metric(samples, stat, 720, 720, 1).values[0] for stat in ("Minimum", "Average", "p50", "p100")
    }
    if whole:
        assert everything["Minimum"] == min(whole) and everything["p100"] == max(whole)
        assert everything["Average"] == sum(whole) / len(whole)
        assert everything["p50"] == sorted(whole)[(len(whole) + 1) // 2 - 1]
    else:
        assert set(everything.values()) == {None}


def test_an_unknown_statistic_is_an_error() -> None:
    with pytest.raises(ValueError, match="Median"):
        of_metric({}, "Median", 60, 60, 1)
    assert Name("AWS/Lambda", "Errors") != Name("AWS/Lambda", "Errors", frozenset({("FunctionName", "a")}))
