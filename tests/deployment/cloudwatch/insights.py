"""Contributor Insights' rules over lines of JSON, and who comes first by them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/ContributorInsights-RuleSyntax.html
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Field = Annotated[str, Meta(pattern=r"^\$(\.\w+(\[\d+\])?)+$")]


class Schema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    Name: Literal["CloudWatchLogRule"]
    Version: Literal[1]


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Those operators that our rules use. A filter has exactly one."""

    Match: Field
    GreaterThan: float | None = None
    IsPresent: bool | None = None

    def __post_init__(self) -> None:
        if (self.GreaterThan is None) == (self.IsPresent is None):
            raise ValueError("a filter has one operator")

    def lets_pass(self, line: Mapping[str, Any]) -> bool:
        value = found(line, self.Match)
        if self.GreaterThan is None:
            return (value is not None) == self.IsPresent
        return isinstance(value, int | float) and value > self.GreaterThan


class Contribution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    Keys: Annotated[list[Field], Meta(min_length=1, max_length=4)]
    ValueOf: Field | None = None
    Filters: Annotated[list[Filter], Meta(max_length=4)] = []


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    Schema: Schema
    LogGroupNames: Annotated[list[Annotated[str, Meta(pattern=r"^[\w./#-]+\*?$")]], Meta(min_length=1)]
    LogFormat: Literal["JSON"]
    Contribution: Contribution
    AggregateOn: Literal["Count", "Sum"]

    def __post_init__(self) -> None:
        if (self.AggregateOn == "Sum") != (self.Contribution.ValueOf is not None):
            raise ValueError("ValueOf is for sums, and sums are of it")


def ranked(rule: Rule, lines: Iterable[Mapping[str, Any]]) -> list[tuple[tuple[Any, ...], int]]:
    """Contributors and what each contributed, the first of them first."""
    sums: Counter[tuple[Any, ...]] = Counter()
    for line in lines:
        who = tuple(found(line, key) for key in rule.Contribution.Keys)
        if None not in who and all(each.lets_pass(line) for each in rule.Contribution.Filters):
            value = found(line, rule.Contribution.ValueOf) if rule.Contribution.ValueOf else 1
            sums[who] += value or 0
    return sums.most_common()


def found(line: Mapping[str, Any], field: str) -> Any:
    value: Any = line
    for name in field.split(".")[1:]:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
