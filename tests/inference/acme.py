"""One tenant, its pool of two targets, and one gateway, for the life of a request."""

from typing import Any

import msgspec

from chalicelib.admission.limits import Budget, Limits
from chalicelib.identity import ApiKey
from chalicelib.inference import Answer, Ask, Path, run
from chalicelib.ledger import Entry
from tests.small_deployments import T0, Deployment

MESSAGES = b'[{"role":"user","content":"hello there"}]'
PROMPT_TOKENS = -(-len(MESSAGES) // 3)
MONTH = Limits(rates=(), budgets=(Budget("month", "tokens", 10_000, "month"),), in_flight=2)


def ask(key: str | None, **more: Any) -> Ask:
    fields: dict[str, Any] = {
        "credential": ApiKey(key) if key else None,
        "tenant": None,
        "surface": "openai",
        "operation": "chat.completions",
        "pool": "model-a",
        "fields": {"messages": msgspec.Raw(MESSAGES)},
        "request_id": "req-1",
        "max_tokens": 100,
        "stream": True,
    }
    return Ask(**{**fields, **more})


class Acme:
    """A deployment with one tenant, its pool of two targets, and one gateway."""

    def __init__(self, script: Any = None, deployment: Deployment | None = None) -> None:
        self.deployment = deployment or Deployment(script=script)
        self.deployment.pool("model-a", "a", "b")
        self.deployment.tenant("acme", limits=MONTH)
        self.key = self.deployment.key("acme")
        self.path: Path = self.deployment.path()

    def run(self, **more: Any) -> Answer:
        return run(ask(self.key, **more), self.path)

    def entries(self) -> tuple[Entry, ...]:
        return self.deployment.store.ledger.page("acme", 0, T0 * 2, None, 100).entries

    def entry(self) -> Entry:
        (only,) = self.entries()
        return only

    def held(self) -> tuple[int, int]:
        """Leases, and the month's tokens, on the meter."""
        meter = self.deployment.store.meters.reading("acme")
        assert meter is not None
        return len(meter.leases), sum(used for _, used in meter.windows.values())
