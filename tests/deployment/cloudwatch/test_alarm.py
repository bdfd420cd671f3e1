"""Alarms are on and off as AWS's own tables have it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deployment.cloudwatch.alarm import State, decide, holds, state_of
from tests.deployment.cloudwatch.expression import Unknown
from tests.deployment.cloudwatch.series import Name

KEEPS = "keeps"  # "Retain current state"
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


def points(drawn: str) -> list[bool | None]:
    return [{"X": True, "0": False, "-": None}[sign] for sign in drawn]


@pytest.mark.parametrize(
    ("drawn", "to_alarm", "expected"),
    [
        # "How alarm state is evaluated when data is missing": 3 evaluation periods of a range of 5; 3 to alarm, then 2.
        ("0-X-X", 3, ("OK", "OK", "OK", "OK")),
        ("0----", 3, ("OK", "OK", "OK", "OK")),
        ("-----", 3, ("INSUFFICIENT_DATA", KEEPS, "ALARM", "OK")),
        ("0XX-X", 3, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("--X--", 3, ("ALARM", KEEPS, "ALARM", "OK")),
        ("0-X-X", 2, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("00X0X", 2, ("ALARM", "ALARM", "ALARM", "ALARM")),
        ("0-X--", 2, ("OK", "OK", "ALARM", "OK")),
        ("----0", 2, ("OK", "OK", "ALARM", "OK")),
        ("---X-", 2, ("ALARM", KEEPS, "ALARM", "OK")),
        # "the alarm does not go immediately into ALARM state when the data is either"
        ("----X", 3, (KEEPS, KEEPS, "ALARM", "OK")),
        ("---X-", 3, (KEEPS, KEEPS, "ALARM", "OK")),
    ],
)
def test_missing_data_is_treated_as_in_aws_tables(drawn: str, to_alarm: int, expected: tuple[str, ...]) -> None:
    befores: tuple[State, ...] = ("OK", "ALARM")
    for before in befores:
        found = [decide(points(drawn), 3, to_alarm, treat, before) for treat in TREATMENTS]
        assert found == [before if state == KEEPS else state for state in expected]


@given(st.text("X0", min_size=3, max_size=8), st.integers(1, 3), st.sampled_from(TREATMENTS))
def test_where_nothing_is_missing_the_newest_points_alone_decide(drawn: str, to_alarm: int, treat: str) -> None:
    expected = "ALARM" if drawn[-3:].count("X") >= to_alarm else "OK"
    assert decide(points(drawn), 3, to_alarm, treat, "OK") == expected


@given(st.text("X0-", min_size=5, max_size=5), st.integers(1, 3), st.integers(0, 4))
def test_a_breach_more_never_ends_an_alarm(drawn: str, to_alarm: int, where: int) -> None:
    worse = drawn[:where] + "X" + drawn[where + 1 :] if drawn[where] == "0" else drawn
    for treat in ("breaching", "notBreaching"):
        if decide(points(drawn), 3, to_alarm, treat, "OK") == "ALARM":
            assert decide(points(worse), 3, to_alarm, treat, "OK") == "ALARM"


def an_alarm(**changed: Any) -> dict[str, Any]:
    return {
        "Namespace": "Cloister",
        "MetricName": "Fault",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0,
        "TreatMissingData": "notBreaching",
    } | changed


def test_a_metric_of_other_dimensions_is_another_metric() -> None:
    metrics = {Name("Cloister", "Fault", frozenset({("pool", "chat")})): {0: [(1.0, 1)]}}
    assert state_of(an_alarm(), metrics, 60, 0) == "OK"
    assert state_of(an_alarm(Dimensions=[{"Name": "pool", "Value": "chat"}]), metrics, 60, 0) == "ALARM"


def test_dynamodbs_metrics_leave_an_alarm_as_it_is() -> None:
    alarm = an_alarm(Namespace="AWS/DynamoDB")
    assert state_of(alarm, {}, 60, 0, before="ALARM") == "ALARM"


def query(name: str, **other: Any) -> dict[str, Any]:
    stat = {"Metric": {"Namespace": "Cloister", "MetricName": name}, "Stat": "Sum", "Period": 60}
    return {"Id": name, "MetricStat": stat, "ReturnData": False} | other


@pytest.mark.parametrize(
    "wrong",
    [
        {"Period": 30},
        {"Period": 300, "EvaluationPeriods": 289},  # more than a day
        {"Period": 3_600, "EvaluationPeriods": 169},  # more than a week
        {"TreatMissingData": "gently"},
        {"Metrics": [query(f"m{number}") for number in range(11)]},
        {"Metrics": [query("m"), {"Id": "all", "Expression": "METRICS()"}]},
        {"Metrics": [query("m"), {"Id": "number", "Expression": "5 * 5"}]},
        {"Metrics": [query("m"), {"Id": "soon", "Expression": "later", "ReturnData": False}, query("later")]},
    ],
)
def test_what_cloudwatch_would_not_take_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(Unknown):
        state_of(an_alarm(**wrong), {}, 0, 2)


STATES: dict[str, State] = {"on": "ALARM", "off": "OK", "lost": "INSUFFICIENT_DATA"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ALARM(on) AND ALARM(off)", False),
        ("ALARM(on) AND NOT ALARM(off)", True),
        ('(ALARM("on") OR ALARM("off")) AND OK(off)', True),
        ("INSUFFICIENT_DATA(lost) AND (FALSE OR TRUE)", True),
        ("NOT (ALARM(on) OR ALARM(lost))", False),
        ("OK(on) OR OK(lost) OR OK(off)", True),
    ],
)
def test_composite_alarms_follow_their_rule(rule: str, expected: bool) -> None:
    assert holds(rule, STATES) is expected


@pytest.mark.parametrize(
    "rule",
    [
        "ALARM(other)",
        "ALARM(on) AND OK(off) OR TRUE",
        "ALARM on",
        "ALARM(on",
        "",
        "ALARM(on) ALARM(on)",
        "(TRUE",
        "XOR(on)",
    ],
)
def test_a_rule_that_nobody_can_be_sure_of_is_an_error(rule: str) -> None:
    with pytest.raises(Unknown):
        holds(rule, STATES)
