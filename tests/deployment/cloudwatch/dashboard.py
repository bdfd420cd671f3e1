"""A dashboard's body, strictly.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tests.deployment.cloudwatch.series import Name

COLUMNS = 24


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    label: str
    value: float


class Annotations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    horizontal: list[Line]


class Graph(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a metric widget. A metric is its namespace, its name, pairs of dimensions, and may have how it is drawn."""

    title: str
    region: str
    view: Literal["timeSeries"]
    metrics: list[list[Any]]
    stat: str = "Average"
    period: Annotated[int, Meta(multiple_of=60)] = 300
    annotations: Annotations | None = None


class Alarms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str
    alarms: Annotated[list[str], Meta(min_length=1, max_length=100)]


class MetricWidget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="metric"):
    x: Annotated[int, Meta(ge=0)]
    y: Annotated[int, Meta(ge=0)]
    width: Annotated[int, Meta(ge=1, le=COLUMNS)]
    height: Annotated[int, Meta(ge=1, le=1_000)]
    properties: Graph


class AlarmWidget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="alarm"):
    x: Annotated[int, Meta(ge=0)]
    y: Annotated[int, Meta(ge=0)]
    width: Annotated[int, Meta(ge=1, le=COLUMNS)]
    height: Annotated[int, Meta(ge=1, le=1_000)]
    properties: Alarms


class Variable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is chosen on the dashboard, and takes the place of a pattern in it."""

    type: Literal["pattern"]
    pattern: str
    id: str
    label: str
    inputType: Literal["select"]
    defaultValue: str
    search: str
    populateFrom: str
    visible: bool = True


class Dashboard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    widgets: Annotated[list[MetricWidget | AlarmWidget], Meta(min_length=1, max_length=500)]
    variables: Annotated[list[Variable], Meta(max_length=25)] = []

    def graphs(self) -> list[Graph]:
        return [each.properties for each in self.widgets if isinstance(each, MetricWidget)]


_SEARCH = re.compile(r"SEARCH\('(\{[^}]*\}[^']*)', '([\w.]+)', (\d+)\)")
_TERM = re.compile(r"(\w+)=\"([^\"]*)\"|(\S+)")


class Search(msgspec.Struct, frozen=True):
    """What a search finds: metrics with exactly these dimensions, whose names and values are as said."""

    namespace: str
    dimensions: frozenset[str]
    said: dict[str, str]  # designators and their exact values
    tokens: tuple[str, ...]  # what else must stand somewhere in it


def search_of(text: str) -> Search:
    schema, _, terms = text.removeprefix("{").partition("}")
    namespace, *dimensions = [part.strip() for part in schema.split(",")]
    found = list(_TERM.finditer(terms))
    said = {match[1]: match[2] for match in found if match[1]}
    return Search(namespace, frozenset(dimensions), said, tuple(match[3] for match in found if match[3]))


def searches(graph: Graph) -> Iterator[Search]:
    for metric in graph.metrics:
        for part in metric:
            if isinstance(part, dict):
                yield from (search_of(match[1]) for match in _SEARCH.finditer(part.get("expression", "")))


def metrics(graph: Graph) -> Iterator[Name]:
    for metric in graph.metrics:
        parts = [part for part in metric if isinstance(part, str)]
        if parts:
            namespace, name, *dimensions = parts
            yield Name(namespace, name, frozenset(zip(dimensions[::2], dimensions[1::2], strict=True)))


def rest_of(expression: str) -> str:
    """An expression with `found` for each search in it."""
    return _SEARCH.sub("found", expression)
