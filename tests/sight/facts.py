"""Facts of requests, which name only what matters."""

from typing import Any

from chalicelib.sight import RequestFacts, Trace

NOW_MS = 1_764_451_200_000
CHATS = "POST /tenants/{tenant}/v1/chat/completions"
TRACE = Trace("692b4a80" + "a1" * 12, "b2" * 8, parent_id="c3" * 8, sampled=True)


def facts(**more: Any) -> RequestFacts:
    """A streamed answer that waited, with everything that can be told of one."""
    given: dict[str, Any] = {
        "event": "Settled", "tenant": "acme", "request_id": "r-1", "route": CHATS, "arrived_ms": NOW_MS - 1_000,
        "ended_ms": NOW_MS, "trace": TRACE, "lease": "l-1", "pool": "model-a", "target": "gpu-1",
        "operation": "chat.completions", "outcome": "completed", "streamed": True, "admitted_ms": NOW_MS - 990,
        "tokens_in": 12, "tokens_out": 45, "tokens": 57, "micro_usd": 31, "queue_position": 3,
        "predicted_start_ms": 120, "first_token_ms": NOW_MS - 600,
    }  # fmt: skip
    return RequestFacts(**{**given, **more})


def refusal(**more: Any) -> RequestFacts:
    """A request that a limit kept out."""
    given: dict[str, Any] = {
        "event": "Refused", "tenant": "acme", "request_id": "r-2", "route": CHATS, "arrived_ms": NOW_MS - 2,
        "ended_ms": NOW_MS, "trace": TRACE, "reason": "RateLimited", "pool": "model-a",
    }  # fmt: skip
    return RequestFacts(**{**given, **more})
