"""Whether an alarm is on, as CloudWatch decides it. Alarms are as a template has them, with nothing left to fill in.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from tests.deployment.cloudwatch.expression import Unknown, Value, evaluate
from tests.deployment.cloudwatch.series import MINUTE, Metrics, Name, Series, of_metric

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}

HOUR, DAY = 3_600, 86_400
LONGEST_S = 7 * DAY
MOST_METRICS = 10


def state_of(alarm: Mapping[str, Any], metrics: Metrics, now_s: int, extra: int, before: State = "OK") -> State:
    """`extra`: by how many periods the evaluation range is longer than the evaluation periods, which AWS leaves open
    but for an example (2 of 3). `before`: in which state it is. Raises Unknown.
    """
    periods = alarm["EvaluationPeriods"]
    series = watched(alarm, metrics, now_s, periods + extra)
    if periods * series.period_s > (DAY if series.period_s < HOUR else LONGEST_S):
        raise Unknown("it looks back for longer than alarms do")
    breaches = OPERATORS[alarm["ComparisonOperator"]]
    points = [None if value is None else breaches(value, alarm["Threshold"]) for value in series.values]
    # "Alarms that evaluate metrics in the AWS/DynamoDB namespace always ignore missing data".
    treat = "ignore" if _dynamodb(alarm) else alarm.get("TreatMissingData", "missing")
    return decide(points, periods, alarm.get("DatapointsToAlarm", periods), treat, before)


def decide(points: list[bool | None], periods: int, to_alarm: int, treat: str, before: State) -> State:
    """`points`: of the evaluation range, oldest first: whether each breaches; None: missing."""
    real = [point for point in points if point is not None]
    if len(real) >= periods:
        return "ALARM" if sum(real[-periods:]) >= to_alarm else "OK"
    if treat == "breaching":
        return "ALARM" if sum(real) + periods - len(real) >= to_alarm else "OK"
    if treat == "notBreaching":
        return "ALARM" if sum(real) >= to_alarm else "OK"
    if treat not in ("missing", "ignore"):
        raise Unknown(f"missing data is not treated as {treat}")
    if False in real:
        return "ALARM" if sum(real) >= to_alarm else "OK"
    if treat == "ignore":
        return before
    if not real:
        return "INSUFFICIENT_DATA"
    # Nothing but breaches: on, where the oldest is old enough ("premature alarm state").
    return "ALARM" if len(points) - points.index(True) >= to_alarm else before


def watched(alarm: Mapping[str, Any], metrics: Metrics, now_s: int, periods: int) -> Series:
    """The series that it compares. Raises Unknown."""
    if "Metrics" not in alarm:
        return _metric(alarm, alarm["Statistic"], alarm["Period"], metrics, now_s, periods)
    queries = {query["Id"]: query for query in alarm["Metrics"]}
    stats = {name: query["MetricStat"] for name, query in queries.items() if "MetricStat" in query}
    if len(stats) > MOST_METRICS or len({stat["Period"] for stat in stats.values()}) != 1:
        raise Unknown("an alarm takes as many as 10 metrics, all of the same period")
    series = {
        name: _metric(stat["Metric"], stat["Stat"], stat["Period"], metrics, now_s, periods)
        for name, stat in stats.items()
    }
    known: dict[str, Value] = dict(series)
    for name, query in queries.items():
        if "Expression" in query:
            known[name] = evaluate(query["Expression"], known, series)
    shown = [known[name] for name, query in queries.items() if query.get("ReturnData", True)]
    found = shown[0] if len(shown) == 1 else None
    if not isinstance(found, Series):
        raise Unknown("an alarm can watch one time series only")
    return found


def names(alarm: Mapping[str, Any]) -> list[Name]:
    """The metrics that it watches."""
    queries = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", ()) if "MetricStat" in query]
    return [_name(each) for each in queries or [alarm]]


def _dynamodb(alarm: Mapping[str, Any]) -> bool:
    return any(name.namespace == "AWS/DynamoDB" for name in names(alarm))


def _metric(asked: Mapping[str, Any], stat: str, period_s: int, metrics: Metrics, now_s: int, periods: int) -> Series:
    if period_s % MINUTE:
        raise Unknown("our metrics come once a minute")
    return of_metric(metrics.get(_name(asked), {}), stat, period_s, now_s, periods)


def _name(asked: Mapping[str, Any]) -> Name:
    dimensions = frozenset((each["Name"], each["Value"]) for each in asked.get("Dimensions", ()))
    return Name(asked["Namespace"], asked["MetricName"], dimensions)


_RULE_TOKEN = re.compile(r"\s*(ALARM|OK|INSUFFICIENT_DATA|TRUE|FALSE|AND|OR|NOT|[()]|\"[^\"]+\"|[^\s()\"]+)")


def holds(rule: str, states: Mapping[str, State]) -> bool:
    """Whether a composite alarm is on. Raises Unknown: also for AND beside OR, of which AWS does not say which binds
    more, and for an alarm that there is not."""
    tokens = _RULE_TOKEN.findall(rule)
    found = _any_of(tokens, states)
    if tokens:
        raise Unknown(f"{rule}: {tokens} is left over")
    return found


def _any_of(tokens: list[str], states: Mapping[str, State]) -> bool:
    found, joined = [_one_of(tokens, states)], set()
    while tokens and tokens[0] in ("AND", "OR"):
        joined.add(tokens.pop(0))
        found.append(_one_of(tokens, states))
    if len(joined) > 1:
        raise Unknown("AND beside OR wants parentheses")
    return any(found) if joined == {"OR"} else all(found)


def _one_of(tokens: list[str], states: Mapping[str, State]) -> bool:
    if not tokens:
        raise Unknown("the rule ends in the middle")
    token = tokens.pop(0)
    if token == "NOT":
        return not _one_of(tokens, states)
    if token in ("TRUE", "FALSE"):
        return token == "TRUE"
    if token == "(":
        found = _any_of(tokens, states)
        _must_close(tokens)
        return found
    if token not in ("ALARM", "OK", "INSUFFICIENT_DATA") or tokens[:1] != ["("]:
        raise Unknown(f"what is {token}?")
    name = tokens[1].strip('"')
    del tokens[:2]
    _must_close(tokens)
    if name not in states:
        raise Unknown(f"there is no alarm {name}")
    return states[name] == token


def _must_close(tokens: list[str]) -> None:
    if tokens[:1] != [")"]:
        raise Unknown("a parenthesis is open")
    del tokens[0]
