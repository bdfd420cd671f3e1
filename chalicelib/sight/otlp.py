"""Logs, metrics and spans to a collector of OpenTelemetry's (OTLP over HTTP): for servers that stand by themselves.

Each is queued, and sent by threads of the SDK's own every few seconds; what does not fit into a queue, because the
collector does not answer, is dropped. Spans are made once a request has ended, of its facts. The environment's
`OTEL_EXPORTER_OTLP_HEADERS`, `_CERTIFICATE` and `_COMPRESSION` hold, as the SDK reads them.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Thread

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from chalicelib.sight import names
from chalicelib.sight.telemetry import RequestFacts, where_it_broke
from chalicelib.sight.trace import Trace

TIMEOUT_S = 2.0
"""To send one batch, with all attempts."""
METRICS_MS, OTHERS_MS = 10_000, 2_000
"""How often they are sent."""
QUEUE = 2_048
FLUSH_MS = 2_000

_SCOPE = InstrumentationScope("cloister")


class Otlp:
    """Telemetry for a collector at `endpoint`, as http://127.0.0.1:4318."""

    def __init__(self, service: str, endpoint: str) -> None:
        root = endpoint.rstrip("/")
        resource = Resource({"service.name": service})
        self._service = service
        self._resource = resource
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(endpoint=f"{root}/v1/metrics", timeout=TIMEOUT_S), export_interval_millis=METRICS_MS
        )
        # The process ends by a signal: `flush` comes before.
        self._meters = MeterProvider([reader], resource, AlwaysOffExemplarFilter(), shutdown_on_exit=False)
        self._meter = self._meters.get_meter("cloister")
        self._spans = BatchSpanProcessor(
            OTLPSpanExporter(endpoint=f"{root}/v1/traces", timeout=TIMEOUT_S), QUEUE, OTHERS_MS
        )
        self._logs = LoggerProvider(resource, shutdown_on_exit=False)
        self._logs.add_log_record_processor(
            BatchLogRecordProcessor(
                OTLPLogExporter(endpoint=f"{root}/v1/logs", timeout=TIMEOUT_S), OTHERS_MS, max_queue_size=QUEUE
            )
        )
        self._logger = self._logs.get_logger("cloister")
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    def request(self, facts: RequestFacts) -> None:
        where = names.dimensions(facts, self._service)
        measures, kinds = names.measures(facts), names.kinds(facts)
        for name, value in measures.items():
            self._measure(name, value, names.METRICS[name].unit, where)
        for name, value in kinds.items():
            self._counter(name).add(value)
        self._measure_as_others_do(facts)
        members = {**measures, **kinds, **names.members(facts, self._service)}
        self._write(facts.event, facts.ended_ms, members, facts.trace)
        if facts.has_spans:
            self._span(facts)

    def count(self, metric: str, now_ms: int, **facts: str | int) -> None:
        self._counter(metric).add(1)
        self._write(metric, now_ms, {metric: 1, **facts})

    def fault(self, error: BaseException, now_ms: int, **facts: str | int) -> None:
        self.count("Fault", now_ms, **where_it_broke(error), **facts)

    def flush(self) -> None:
        flushes = (self._meters.force_flush, self._spans.force_flush, self._logs.force_flush)
        # Side by side: a process that ends has seconds.
        threads = [Thread(target=_attempt, args=(flush,), daemon=True) for flush in flushes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(FLUSH_MS / 1_000)

    def close(self) -> None:
        """Give back its threads; nothing may be told afterwards."""
        self._meters.shutdown()
        self._spans.shutdown()  # type: ignore[no-untyped-call]
        self._logs.shutdown()

    def _counter(self, name: str) -> Counter:
        if name not in self._counters:
            self._counters[name] = self._meter.create_counter(name)
        return self._counters[name]

    def _histogram(self, name: str, unit: str) -> Histogram:
        if name not in self._histograms:
            self._histograms[name] = self._meter.create_histogram(name, unit)
        return self._histograms[name]

    def _measure(self, name: str, value: int, unit: names.Unit, where: Mapping[str, str]) -> None:
        if name in names.ADDED_UP:
            self._counter(name).add(value, where)
        else:
            self._histogram(name, "ms" if unit == "Milliseconds" else "1").record(value, where)

    def _measure_as_others_do(self, facts: RequestFacts) -> None:
        """By OpenTelemetry's own names."""
        if not facts.target:
            return
        shared = {
            "gen_ai.operation.name": names.OPERATIONS.get(facts.operation, facts.operation),
            "gen_ai.provider.name": names.PROVIDER,
            "gen_ai.request.model": facts.pool,
        }
        tokens = self._histogram(names.TOKEN_USAGE, "{token}")
        tokens.record(facts.tokens_in, {**shared, "gen_ai.token.type": "input"})
        tokens.record(facts.tokens_out, {**shared, "gen_ai.token.type": "output"})
        failed = {"error.type": facts.reason} if facts.reason else {}
        took_s = (facts.ended_ms - facts.arrived_ms) / 1_000
        self._histogram(names.OPERATION_DURATION, "s").record(took_s, shared | failed)
        if facts.streamed and facts.first_token_ms is not None:
            first_s = (facts.first_token_ms - facts.arrived_ms) / 1_000
            self._histogram(names.TIME_TO_FIRST_TOKEN, "s").record(first_s, shared)
            if facts.tokens_out > 1:
                each_s = (facts.ended_ms - facts.first_token_ms) / 1_000 / (facts.tokens_out - 1)
                self._histogram(names.TIME_PER_OUTPUT_TOKEN, "s").record(each_s, shared)

    def _write(self, name: str, at_ms: int, members: Mapping[str, str | int], trace: Trace | None = None) -> None:
        known = trace is not None and bool(trace.trace_id)
        self._logger.emit(
            LogRecord(
                timestamp=at_ms * 1_000_000,
                severity_number=SeverityNumber.INFO,
                body=name,
                attributes=dict(members),
                trace_id=int(trace.trace_id, 16) if trace and known else None,
                span_id=int(trace.span_id, 16) if trace and known else None,
                trace_flags=TraceFlags(int(trace.sampled)) if trace and known else None,
            )
        )

    def _span(self, facts: RequestFacts) -> None:
        trace = facts.trace
        request = _context(trace.trace_id, trace.span_id)
        above = _context(trace.trace_id, trace.parent_id, remote=True) if trace.parent_id else None
        broken = Status(StatusCode.ERROR) if facts.reason in names.OURS else Status()
        members = names.span_members(facts)
        self._end(facts.route, request, above, SpanKind.SERVER, members, broken, facts.arrived_ms, facts.ended_ms)
        if facts.target:
            # Of the same chance as the request's, and never the same.
            engine = _context(trace.trace_id, f"{int(trace.span_id, 16) ^ 1 or 2:016x}")
            self._end(facts.target, engine, request, SpanKind.CLIENT, {}, broken, facts.admitted_ms, facts.ended_ms)

    def _end(
        self,
        name: str,
        context: SpanContext,
        above: SpanContext | None,
        kind: SpanKind,
        members: Mapping[str, str | int],
        status: Status,
        start_ms: int,
        end_ms: int,
    ) -> None:
        self._spans.on_end(
            ReadableSpan(
                name,
                context,
                above,
                self._resource,
                members,
                kind=kind,
                status=status,
                start_time=start_ms * 1_000_000,
                end_time=end_ms * 1_000_000,
                instrumentation_scope=_SCOPE,
            )
        )


def _attempt(flush: Callable[[int], object]) -> None:
    with suppress(Exception):  # whatever the collector does
        flush(FLUSH_MS)


def _context(trace_id: str, span_id: str, *, remote: bool = False) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(TraceFlags.SAMPLED))
