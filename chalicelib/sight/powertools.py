"""The same lines by AWS's Powertools: for functions that nobody waits for, whose operators know its logs.

https://docs.aws.amazon.com/powertools/python/latest/. One line of its Logger holds what its EphemeralMetrics count; its
`Metrics` is one object for all threads, and not made for several.
"""

import logging
import sys
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics

from chalicelib.sight import names
from chalicelib.sight.lines import Spans
from chalicelib.sight.telemetry import RequestFacts, where_it_broke


class _StandardOutput(logging.Handler):
    """As it is when a line is written; a logger outlives whoever replaces it. Raises what writing does."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(self.format(record) + "\n")
        sys.stdout.flush()


class Powertools:
    """Telemetry on standard output. `spans`: see Spans; None: nothing is traced."""

    def __init__(self, service: str, spans: Spans | None = None) -> None:
        self._service = service
        self._spans = spans
        self._logger = Logger(service=service, level="INFO", use_rfc3339=True, logger_handler=_StandardOutput())

    def request(self, facts: RequestFacts) -> None:
        metrics = EphemeralMetrics(namespace=names.NAMESPACE)
        for dimension, place in names.dimensions(facts, self._service).items():
            metrics.add_dimension(dimension, place)
        metrics.add_dimensions(service=self._service)
        for name, value in names.measures(facts).items():
            metrics.add_metric(name, names.METRICS[name].unit, value)
        line = _line(metrics, facts.ended_ms)
        kinds = _counted(names.kinds(facts), facts.ended_ms)
        line["_aws"]["CloudWatchMetrics"] += kinds.pop("_aws")["CloudWatchMetrics"]
        self._logger.info(facts.event, **(line | kinds | names.members(facts, self._service)))
        if self._spans is not None and facts.has_spans:
            self._spans(facts)

    def count(self, metric: str, now_ms: int, **facts: str | int) -> None:
        self._logger.info(metric, **(_counted({metric: 1}, now_ms) | facts))

    def fault(self, error: BaseException, now_ms: int, **facts: str | int) -> None:
        told = where_it_broke(error) | facts
        self._logger.error("Fault", **(_counted({"Fault": 1}, now_ms) | told))

    def flush(self) -> None:
        """Nothing is kept back."""


def _counted(counts: names.Measures, now_ms: int) -> dict[str, Any]:
    metrics = EphemeralMetrics(namespace=names.NAMESPACE)
    for name, value in counts.items():
        metrics.add_metric(name, "Count", value)
    return _line(metrics, now_ms)


def _line(metrics: EphemeralMetrics, now_ms: int) -> dict[str, Any]:
    line: dict[str, Any] = {**metrics.serialize_metric_set()}
    line["_aws"]["Timestamp"] = now_ms  # not through `set_timestamp`, which warns of what is older than 14 days
    return line
