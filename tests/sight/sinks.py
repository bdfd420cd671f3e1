"""What came out of each telemetry, in one form: a harness for each."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple, Protocol

from aws_xray_sdk.core import xray_recorder
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from chalicelib.sight import Telemetry
from chalicelib.sight.lines import Lines
from chalicelib.sight.names import DIMENSIONS
from chalicelib.sight.otlp import Otlp
from chalicelib.sight.powertools import Powertools
from chalicelib.sight.xray import XRay
from tests.patience import PATIENCE_S

SERVICE = "cloister-test"

Series = dict[tuple[str, tuple[str, ...]], float]
"""Sums of metrics, by their names, which OpenTelemetry writes in lower case, and what is in their dimensions, or ()."""


class Span(NamedTuple):
    name: str
    trace_id: str
    parent_id: str
    start_ms: int
    end_ms: int
    members: dict[str, Any]


class Told(NamedTuple):
    """All that came out."""

    series: Series
    lines: list[dict[str, Any]]
    spans: list[Span]
    raw: bytes


class Sink(Protocol):
    telemetry: Telemetry

    def told(self) -> Told:
        """What came out since the last look."""


class Daemon:
    """X-Ray's, as far as it takes something."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        # As AWS_XRAY_DAEMON_ADDRESS does at the start of a process.
        xray_recorder.emitter.set_daemon_address(f"127.0.0.1:{self._socket.getsockname()[1]}")

    def taken(self) -> list[bytes]:
        found = []
        try:
            while True:
                found.append(self._socket.recv(65_536))
        except TimeoutError:
            return found

    def close(self) -> None:
        self._socket.close()


class Written:
    """To standard output, and to X-Ray."""

    def __init__(self, telemetry: Telemetry, daemon: Daemon, read: Callable[[], str]) -> None:
        self.telemetry = telemetry
        self._daemon = daemon
        self._read = read

    def told(self) -> Told:
        text, sent = self._read(), self._daemon.taken()
        lines = [json.loads(line) for line in text.splitlines()]
        series: Series = {}
        for line in lines:
            for directive in line.pop("_aws")["CloudWatchMetrics"]:
                assert directive["Namespace"] == "Cloister"
                for metric in directive["Metrics"]:
                    values = line[metric["Name"]]
                    line[metric["Name"]] = value = values[0] if isinstance(values, list) else values
                    if ["service"] not in directive["Dimensions"]:
                        assert directive["Dimensions"] == [[]]
                        where: tuple[str, ...] = ()
                    else:
                        assert directive["Dimensions"][0] == list(DIMENSIONS)
                        where = tuple(line[name] for name in DIMENSIONS)
                    key = (metric["Name"].lower(), where)
                    series[key] = series.get(key, 0) + value
        spans = [span for document in sent for span in _spans_of(json.loads(document.split(b"\n", 1)[1]))]
        return Told(series, lines, spans, text.encode() + b"".join(sent))


def _spans_of(document: dict[str, Any]) -> Iterator[Span]:
    trace_id = document["trace_id"].removeprefix("1-").replace("-", "")
    start_ms, end_ms = (round(document[name] * 1_000) for name in ("start_time", "end_time"))
    parent_id = document.get("parent_id", "")
    yield Span(document["name"], trace_id, parent_id, start_ms, end_ms, document.get("annotations", {}))
    for below in document.get("subsegments", ()):
        yield from _spans_of(below)


class Collector:
    """OpenTelemetry's, over HTTP. `broken`: it answers 503."""

    def __init__(self) -> None:
        taken: list[tuple[str, bytes]] = []
        self.taken = taken
        self.broken = False
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken.append((self.path, body))
                self.send_response(503 if collector.broken else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_S)


class Collected:
    """By a collector."""

    def __init__(self, telemetry: Telemetry, collector: Collector) -> None:
        self.telemetry = telemetry
        self._collector = collector

    def told(self) -> Told:
        self.telemetry.flush()
        series: Series = {}
        lines: list[dict[str, Any]] = []
        spans: list[Span] = []
        for path, body in self._collector.taken:
            if path == "/v1/metrics":
                series = _series(body)  # each holds all that was counted so far
            elif path == "/v1/logs":
                lines += _lines(body)
            else:
                assert path == "/v1/traces"
                spans += _spans(body)
        return Told(series, lines, spans, b"".join(body for _, body in self._collector.taken))


def _members(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def _series(body: bytes) -> Series:
    found: Series = {}
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        assert _members(resource.resource.attributes)["service.name"] == SERVICE
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            for point in getattr(metric, metric.WhichOneof("data")).data_points:
                members = _members(point.attributes)
                where = tuple(members.get(name, "") for name in DIMENSIONS) if "route" in members else ()
                if "gen_ai.provider.name" in members:
                    where = tuple(f"{name}={value}" for name, value in sorted(members.items()))
                value = point.sum if metric.WhichOneof("data") == "histogram" else point.as_int
                found[metric.name, where] = value
    return found


def _lines(body: bytes) -> list[dict[str, Any]]:
    records = [
        record
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]
    for record in records:
        members = _members(record.attributes)
        assert record.trace_id.hex() == members.get("trace_id", "") or not record.trace_id
    return [_members(record.attributes) for record in records]


def _spans(body: bytes) -> list[Span]:
    return [
        Span(
            span.name,
            span.trace_id.hex(),
            span.parent_span_id.hex(),
            span.start_time_unix_nano // 1_000_000,
            span.end_time_unix_nano // 1_000_000,
            _members(span.attributes),
        )
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


KINDS = ("lines", "powertools", "otlp")


def sink(kind: str, opened: ExitStack, read: Callable[[], str]) -> Sink:
    if kind == "otlp":
        collector = Collector()
        opened.callback(collector.close)
        otlp = Otlp(SERVICE, collector.address)
        opened.callback(otlp.close)
        return Collected(otlp, collector)
    daemon = Daemon()
    opened.callback(daemon.close)
    spans = XRay(SERVICE)
    telemetry: Telemetry = Lines(SERVICE, spans) if kind == "lines" else Powertools(SERVICE, spans)
    return Written(telemetry, daemon, read)
