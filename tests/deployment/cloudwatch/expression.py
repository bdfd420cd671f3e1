"""Metric math, as much of it as our alarms use, by what AWS says of it. Whatever else there is, is an error.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence

from tests.deployment.cloudwatch.series import Series

Value = float | Series | list[Series]
"""A scalar, a time series or an array of them."""


class Unknown(Exception):
    """An expression that nobody can say the value of here, so no alarm may have it."""


def evaluate(text: str, known: Mapping[str, Value], metrics: Mapping[str, Series]) -> Value:
    """`known`: by id, what expressions may name. `metrics`: those of them that are metrics. Raises Unknown."""
    found = Reader(text, known, metrics)
    value = found.disjunction()
    if found.left():
        raise Unknown(f"{text}: {found.left()} is left over")
    return value


_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*)|([A-Za-z_]\w*)|\"([^\"]*)\"|(==|!=|<=|>=|&&|\|\||[-+*/^<>()\[\],]))")


class Reader:
    """Reads from left to right, and works out what it reads."""

    def __init__(self, text: str, known: Mapping[str, Value], metrics: Mapping[str, Series]) -> None:
        self._known = known
        self._metrics = metrics
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise Unknown(f"{text}: what is {text[at:]}?")
            kind = ("number", "word", "string", "sign")[(match.lastindex or 1) - 1]
            self._tokens.append((kind, match[match.lastindex or 0]))
            at = match.end()

    def left(self) -> str:
        return " ".join(token for _, token in self._tokens)

    def disjunction(self) -> Value:
        return self._chain(self._conjunction, {"OR": _or, "||": _or})

    def _conjunction(self) -> Value:
        return self._chain(self._comparison, {"AND": _and, "&&": _and})

    def _comparison(self) -> Value:
        return self._chain(self._sum, COMPARISONS)

    def _sum(self) -> Value:
        return self._chain(self._product, {"+": lambda a, b: a + b, "-": lambda a, b: a - b})

    def _product(self) -> Value:
        return self._chain(self._power, {"*": lambda a, b: a * b, "/": lambda a, b: a / b if b else None})

    def _power(self) -> Value:
        return self._chain(self._operand, {"^": lambda a, b: a**b})

    def _chain(self, part: Callable[[], Value], signs: Mapping[str, "Operation"]) -> Value:
        value = part()
        while self._tokens and self._tokens[0][1] in signs and self._tokens[0][0] in ("sign", "word"):
            value = combined(value, signs[self._next()[1]], part())
        return value

    def _operand(self) -> Value:
        kind, token = self._next()
        if kind == "number":
            return float(token)
        if token == "-":
            return combined(-1.0, lambda a, b: a * b, self._operand())
        if token == "(":
            value = self.disjunction()
            self._must_be(")")
            return value
        if token == "[":
            return [each for value in self._list("]") for each in _array(value)]
        if kind == "word" and self._tokens and self._tokens[0][1] == "(":
            self._next()
            return self._called(token)
        if kind == "word" and token in self._known:
            return self._known[token]
        raise Unknown(f"what is {token}?")

    def _called(self, name: str) -> Value:
        if name == "METRICS":
            return self._all_metrics()
        if name == "PERIOD":
            return self._period()
        if name == "FILL":
            return self._filled()
        if name == "IF":
            return _if(*self._list(")"))
        if name in OF_EACH:
            return _of_each(OF_EACH[name], self._only(name))
        if name in ACROSS:
            return _across(name, self._only(name))
        raise Unknown(f"no alarm of ours has used {name} yet: say here what it does, and what AWS says of it")

    def _only(self, name: str) -> Value:
        arguments = self._list(")")
        if len(arguments) != 1:
            raise Unknown(f"{name} takes one argument")
        return arguments[0]

    def _all_metrics(self) -> Value:
        kind, token = self._next()
        if kind != "string":
            return list(self._metrics.values())
        self._must_be(")")
        return [series for name, series in self._metrics.items() if token in name]

    def _period(self) -> Value:
        _, name = self._next()
        self._must_be(")")
        if name not in self._metrics:
            raise Unknown("PERIOD is of metrics, not of the results of expressions")
        return float(self._metrics[name].period_s)

    def _filled(self) -> Value:
        value = self.disjunction()
        self._must_be(",")
        if self._tokens[0] == ("word", "REPEAT"):
            self._next()
            self._must_be(")")
            return _of_each(_repeated, value)
        (filler,) = self._list(")")
        if not isinstance(filler, float):
            raise Unknown("FILL is known here with a number, or REPEAT")
        return _of_each(
            lambda series: Series(
                tuple(filler if point is None else point for point in series.values), series.period_s
            ),
            value,
        )

    def _list(self, end: str) -> list[Value]:
        found = [self.disjunction()]
        while (token := self._next()[1]) == ",":
            found.append(self.disjunction())
        if token != end:
            raise Unknown(f"{token} in place of {end}")
        return found

    def _must_be(self, sign: str) -> None:
        token = self._next()[1]
        if token != sign:
            raise Unknown(f"{token} in place of {sign}")

    def _next(self) -> tuple[str, str]:
        if not self._tokens:
            raise Unknown("it ends in the middle")
        return self._tokens.pop(0)


Operation = Callable[[float, float], float | None]


def _or(a: float, b: float) -> float:
    return float(bool(a) or bool(b))


def _and(a: float, b: float) -> float:
    return float(bool(a) and bool(b))


COMPARISONS: Mapping[str, Operation] = {
    "==": lambda a, b: float(a == b),
    "!=": lambda a, b: float(a != b),
    "<=": lambda a, b: float(a <= b),
    ">=": lambda a, b: float(a >= b),
    "<": lambda a, b: float(a < b),
    ">": lambda a, b: float(a > b),
}


def combined(a: Value, operation: Operation, b: Value) -> Value:
    """Where one of two series has no value, it counts as 0; where neither has, there is none.

    "Missing values in a time series are treated as 0. If the value of a data point causes a function to attempt to
    divide by zero, the data point is dropped."
    """
    if isinstance(a, list) or isinstance(b, list):
        if isinstance(a, list) and isinstance(b, list):
            raise Unknown("two arrays are not combined")
        if isinstance(a, list):
            return [_one(combined(each, operation, b)) for each in a]
        return [_one(combined(a, operation, each)) for each in _array(b)]
    if isinstance(a, float) and isinstance(b, float):
        found = operation(a, b)
        if found is None:
            raise Unknown("a division of numbers by zero")
        return found
    if isinstance(a, float):
        return _one(b).each(lambda value: operation(a, value))
    if isinstance(b, float):
        return _one(a).each(lambda value: operation(value, b))
    return Series(
        tuple(
            None if x is None and y is None else operation(x or 0.0, y or 0.0)
            for x, y in zip(*_alike(a, b), strict=True)
        ),
        a.period_s,
    )


def _alike(*series: Series) -> Sequence[tuple[float | None, ...]]:
    if len({(each.period_s, len(each.values)) for each in series}) != 1:
        raise Unknown("each metric must be using the same period")
    return [each.values for each in series]


def _if(*arguments: Value) -> Value:
    """False where the condition is 0, and true for any other value; what is true and missing is 0."""
    if len(arguments) not in (2, 3) or any(isinstance(each, list) for each in arguments):
        raise Unknown("IF takes a condition and what it is then, and may take what it is otherwise")
    condition, then, *otherwise = arguments
    other: Value | None = otherwise[0] if otherwise else None
    if not isinstance(condition, Series):
        raise Unknown("IF is known here for a condition that is a time series")
    length = len(condition.values)
    truths, falsities = _points(then, condition), (None,) * length if other is None else _points(other, condition)
    return Series(
        tuple(
            None if met is None else ((0.0 if yes is None else yes) if met else no)
            for met, yes, no in zip(condition.values, truths, falsities, strict=True)
        ),
        condition.period_s,
    )


def _points(value: Value, like: Series) -> tuple[float | None, ...]:
    return (value,) * len(like.values) if isinstance(value, float) else _alike(_one(value), like)[0]


def _one(value: Value) -> Series:
    if not isinstance(value, Series):
        raise Unknown("a time series is wanted")
    return value


def _array(value: Value) -> list[Series]:
    return value if isinstance(value, list) else [_one(value)]


def _of_each(change: Callable[[Series], Series], value: Value) -> Value:
    return [change(each) for each in value] if isinstance(value, list) else change(_one(value))


def _repeated(series: Series) -> Series:
    last: float | None = None
    found = []
    for value in series.values:
        last = value if value is not None else last
        found.append(last)
    return Series(tuple(found), series.period_s)


def _differences(series: Series, per_s: int | None) -> Series:
    """From the value before it; `per_s`: None: as it is; else by so many seconds for each period between the two."""
    found: list[float | None] = []
    before: tuple[int, float] | None = None
    for number, value in enumerate(series.values):
        if value is None or before is None:
            found.append(None)
        else:
            difference = value - before[1]
            found.append(difference if per_s is None else difference / ((number - before[0]) * per_s))
        before = before if value is None else (number, value)
    return Series(tuple(found), series.period_s)


OF_EACH: Mapping[str, Callable[[Series], Series]] = {
    "ABS": lambda series: series.each(abs),
    "CEIL": lambda series: series.each(lambda value: float(math.ceil(value))),
    "FLOOR": lambda series: series.each(lambda value: float(math.floor(value))),
    "DIFF": lambda series: _differences(series, None),
    "RATE": lambda series: _differences(series, series.period_s),
}

ACROSS: Mapping[str, Callable[[list[float]], float]] = {"SUM": sum, "MAX": max, "MIN": min}


def _across(name: str, value: Value) -> Value:
    """Over an array. Of one series it is a number, over more data than the alarm looks at: AWS advises against that."""
    if not isinstance(value, list):
        raise Unknown(f"{name} of a single time series acts differently when extra data is requested")
    if not value:
        raise Unknown(f"{name} of nothing")
    points = zip(*_alike(*value), strict=True)
    there = [[point for point in each if point is not None] for each in points]
    return Series(tuple(ACROSS[name](each) if each else None for each in there), value[0].period_s)
