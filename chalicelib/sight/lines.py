"""One JSON line for each request, and for each thing worth counting, on standard output.

On Lambda, that is CloudWatch Logs, and the `_aws` member makes the line metrics (CloudWatch Embedded Metric Format,
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
"""

import sys
from collections.abc import Callable
from functools import lru_cache

import msgspec

from chalicelib.sight import names
from chalicelib.sight.telemetry import RequestFacts, where_it_broke

Spans = Callable[[RequestFacts], None]
"""Where the spans of a traced request go."""

_encode = msgspec.json.encode


class Lines:
    """Telemetry on standard output. `spans`: see Spans; None: nothing is traced."""

    def __init__(self, service: str = "cloister", spans: Spans | None = None) -> None:
        self._service = service
        self._spans = spans

    def request(self, facts: RequestFacts) -> None:
        measures, kinds = names.measures(facts), names.kinds(facts)
        aws = {"Timestamp": facts.ended_ms, "CloudWatchMetrics": _directives(tuple(measures), tuple(kinds))}
        _write({"_aws": aws, **measures, **kinds, **names.members(facts, self._service)})
        if self._spans is not None and facts.has_spans:
            self._spans(facts)

    def count(self, metric: str, now_ms: int, **facts: str | int) -> None:
        _write({"_aws": {"Timestamp": now_ms, "CloudWatchMetrics": _counted(metric)}, metric: 1, **facts})

    def fault(self, error: BaseException, now_ms: int, **facts: str | int) -> None:
        self.count("Fault", now_ms, **where_it_broke(error), **facts)

    def flush(self) -> None:
        """Nothing is kept back."""


def _write(line: dict[str, object]) -> None:
    try:
        sys.stdout.write(_encode(line).decode() + "\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        return


# Which metrics a request has takes a few dozen forms, so they are written once each.
@lru_cache(maxsize=256)
def _directives(measured: tuple[str, ...], kinds: tuple[str, ...]) -> msgspec.Raw:
    of_request = [{"Name": name, "Unit": names.METRICS[name].unit} for name in measured]
    of_kinds = [{"Name": name, "Unit": "Count"} for name in kinds]
    return msgspec.Raw(
        _encode(
            [
                _directive([list(names.DIMENSIONS), ["service"]], of_request),
                _directive([[]], of_kinds),
            ]
        )
    )


@lru_cache(maxsize=256)
def _counted(metric: str) -> msgspec.Raw:
    return msgspec.Raw(_encode([_directive([[]], [{"Name": metric, "Unit": "Count"}])]))


def _directive(dimensions: list[list[str]], metrics: list[dict[str, str]]) -> dict[str, object]:
    return {"Namespace": names.NAMESPACE, "Dimensions": dimensions, "Metrics": metrics}
