"""Which metrics the gateway tells of, read off its code and off the lines that it writes."""

import ast
import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import cache
from typing import Any, get_args

from chalicelib.sight.lines import Lines
from chalicelib.sight.names import NAMESPACE, OURS
from chalicelib.sight.telemetry import RequestEvent
from tests.deployment.packages import ROOT
from tests.sight.facts import facts, refusal

Metric = tuple[str, frozenset[str]]
"""A name, with the names of the dimensions that it is told in."""


@cache
def emitted() -> frozenset[Metric]:
    """All of them, in the namespace Cloister."""
    counts = {metric for name in counted() for line in lines(_counting(name)) for metric in _metrics(line)}
    return frozenset(counts | {metric for line in lines(tell_of_requests) for metric in _metrics(line)})


def counted() -> set[str]:
    """Every name that is given to `telemetry.count`, anywhere in the gateway."""
    return {name for path in sorted((ROOT / "chalicelib").rglob("*.py")) for name in _counted_in(path.read_text())}


def tell_of_requests(telemetry: Lines) -> None:
    """Requests that end in each way that there is."""
    for event in get_args(RequestEvent):
        telemetry.request(facts(event=event))
    for reason in sorted(OURS):
        telemetry.request(facts(event="Settled", reason=reason, outcome="failed"))
    telemetry.request(refusal())


def lines(tell: Callable[[Lines], None], service: str = "cloister-dev") -> list[dict[str, Any]]:
    """What stands on standard output then."""
    out = io.StringIO()
    with redirect_stdout(out):
        tell(Lines(service))
    return [json.loads(line) for line in out.getvalue().splitlines()]


def _counting(name: str) -> Callable[[Lines], None]:
    return lambda telemetry: telemetry.count(name, 0)


def _metrics(line: dict[str, Any]) -> Iterator[Metric]:
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert directive["Namespace"] == NAMESPACE
        for metric in directive["Metrics"]:
            assert metric["Name"] in line
            yield from ((metric["Name"], frozenset(each)) for each in directive["Dimensions"])


def _counted_in(text: str) -> Iterator[str]:
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef):
            assigned = [each for each in ast.walk(function) if isinstance(each, ast.Assign)]
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and _is_count(call):
                    yield from _texts(call.args[0], assigned)


def _is_count(call: ast.Call) -> bool:
    asked = call.func
    return bool(call.args) and isinstance(asked, ast.Attribute) and asked.attr == "count" and _is_telemetry(asked.value)


def _is_telemetry(receiver: ast.expr) -> bool:
    name = receiver.attr if isinstance(receiver, ast.Attribute) else getattr(receiver, "id", "")
    return name.strip("_") in ("telemetry", "self")


def _texts(node: ast.expr, assigned: list[ast.Assign]) -> Iterator[str]:
    """What it may be: a text, one of two, or a name that was assigned such before."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from (*_texts(node.body, assigned), *_texts(node.orelse, assigned))
    elif isinstance(node, ast.Name):
        for each in assigned:
            if any(isinstance(target, ast.Name) and target.id == node.id for target in each.targets):
                yield from _texts(each.value, assigned)
