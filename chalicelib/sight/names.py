"""What is measured of a request, and what it is called, here and by OpenTelemetry. Pure.

Names of OpenTelemetry's conventions for generative AI are still in development: all of them stand here
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/).
"""

from typing import Literal, NamedTuple

from chalicelib.sight.telemetry import RequestFacts

NAMESPACE = "Cloister"

Unit = Literal["Count", "Milliseconds", "None"]
"""As CloudWatch says it."""


class Metric(NamedTuple):
    unit: Unit
    meaning: str


METRICS = {
    "RequestCount": Metric("Count", "requests"),
    "RequestLatency": Metric("Milliseconds", "from arrival to settlement, just before the last byte"),
    "TokenUsage": Metric("Count", "tokens in and out, as the engine counted them"),
    "CostEstimate": Metric("None", "micro-dollars, by the pool's prices"),
    "RefusalCount": Metric("Count", "requests refused for what is the caller's, or their tenant's, doing"),
    "ErrorCount": Metric("Count", "requests that failed by our doing, or by an engine's"),
    "tokens_in": Metric("Count", "of the prompt"),
    "tokens_out": Metric("Count", "of the answer"),
    "queue_position": Metric("Count", "the last that an engine told a stream that waited"),
    "predicted_start_ms": Metric("Milliseconds", "how long it said that it would still wait"),
    "time_to_first_token_ms": Metric("Milliseconds", "from a stream's arrival to its first piece"),
    "decode_time_ms": Metric("Milliseconds", "from a stream's first piece to its end"),
}
"""In three dimensions, DIMENSIONS; and in all of a service together. By kind besides: see `kinds`."""

DIMENSIONS = ("service", "pool", "route")
"""Closed sets: a tenant is none of them, or each would cost some fifty metrics. It is a member of the line."""

NO_POOL = "-"
"""CloudWatch takes no empty dimension."""

ADDED_UP = frozenset(
    ("RequestCount", "TokenUsage", "CostEstimate", "RefusalCount", "ErrorCount", "tokens_in", "tokens_out")
)
"""Those of which a sum says something, and a distribution little."""

OURS = frozenset(("NoCapacity", "EngineFailed", "EngineTimedOut", "StoreUnavailable"))
"""Reasons that are errors: nothing that a caller does differently would have helped."""

NEITHER = frozenset(("", "client_left", "revoked"))
"""Reasons that are neither: the caller left, or what had allowed a stream was taken back."""

PROVIDER = "cloister"
"""Who serves the models, as OpenTelemetry calls it: a pool may have targets of several."""

OPERATIONS = {
    "completions": "text_completion",
    "embeddings": "embeddings",
    **dict.fromkeys(("chat.completions", "messages", "responses", "converse", "invoke"), "chat"),
}
"""What OpenTelemetry calls them."""

TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105  # no secret
OPERATION_DURATION = "gen_ai.client.operation.duration"
TIME_TO_FIRST_TOKEN = "gen_ai.server.time_to_first_token"  # noqa: S105
TIME_PER_OUTPUT_TOKEN = "gen_ai.server.time_per_output_token"  # noqa: S105

Measures = dict[str, int]


def measures(facts: RequestFacts) -> Measures:
    """The metrics of a request, by name."""
    found = {"RequestCount": facts.count}
    if facts.event != "Refused":
        found["RequestLatency"] = facts.ended_ms - facts.arrived_ms
    if facts.target:  # an engine was asked
        found["TokenUsage"] = facts.tokens
        found["CostEstimate"] = facts.micro_usd
        found["tokens_in"] = facts.tokens_in
        found["tokens_out"] = facts.tokens_out
    if facts.queue_position is not None:
        found["queue_position"] = facts.queue_position
        found["predicted_start_ms"] = facts.predicted_start_ms or 0
    if facts.streamed and facts.first_token_ms is not None:
        found["time_to_first_token_ms"] = facts.first_token_ms - facts.arrived_ms
        found["decode_time_ms"] = facts.ended_ms - facts.first_token_ms
    if failed := _failed(facts.reason):
        found[failed] = facts.count
    return found


def kinds(facts: RequestFacts) -> Measures:
    """What is counted in all of a service together, without a pool and a route: how it ended, and why."""
    found = {str(facts.event): facts.count}
    if failed := _failed(facts.reason):
        found[f"{failed}.{facts.reason}"] = facts.count
    return found


def _failed(reason: str) -> str:
    """The metric that counts it; empty: none does."""
    if reason in NEITHER:
        return ""
    return "ErrorCount" if reason in OURS else "RefusalCount"


def dimensions(facts: RequestFacts, service: str) -> dict[str, str]:
    """Where a request's metrics are counted: each of DIMENSIONS."""
    return {"service": service, "pool": facts.pool or NO_POOL, "route": facts.route}


def members(facts: RequestFacts, service: str) -> dict[str, str | int]:
    """What the line of a request holds besides its metrics."""
    found: dict[str, str | int] = {
        **dimensions(facts, service),
        "tenant": facts.tenant,
        "request_id": facts.request_id,
        "trace_id": facts.trace.trace_id,
    }
    if facts.reason:
        found["reason"] = facts.reason
    if facts.lease:
        found |= {
            "lease": facts.lease,
            "operation": facts.operation,
            "target": facts.target,
            "outcome": facts.outcome,
            "tokens": facts.tokens,
            "micro_usd": facts.micro_usd,
            "duration_ms": facts.ended_ms - facts.admitted_ms,
        }
    return found


def span_members(facts: RequestFacts) -> dict[str, str | int]:
    """What the span of a request holds besides its times. Names with a dot are OpenTelemetry's."""
    return {
        "tenant": facts.tenant,
        "request_id": facts.request_id,
        "route": facts.route,
        "outcome": facts.outcome,
        "reason": facts.reason,
        "micro_usd": facts.micro_usd,
        "gen_ai.operation.name": OPERATIONS.get(facts.operation, facts.operation),
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": facts.pool,
        "gen_ai.usage.input_tokens": facts.tokens_in,
        "gen_ai.usage.output_tokens": facts.tokens_out,
    }
