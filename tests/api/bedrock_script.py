"""A scripted Bedrock, who answers in the words of InvokeModel and Converse, and who calls it by its runtime API."""

import base64
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import msgspec
from botocore.eventstream import EventStreamBuffer, EventStreamMessage

from chalicelib.call import Call, Delta, Finished, Started, Usage
from chalicelib.engines.scripted import Step
from chalicelib.pool import Bedrock, Pool, Target
from tests.api import signing
from tests.small_deployments import Answer, Deployment, Gateway

MODEL = "anthropic.claude-opus-4-1-20250805-v1:0"
USAGE = Usage(9, 2)

MESSAGE: dict[str, Any] = {
    "content": [{"type": "text", "text": "Hello there"}],
    "usage": {"input_tokens": 9, "output_tokens": 2},
}
PIECES: tuple[dict[str, Any], ...] = (
    {"type": "message_start", "message": {"usage": {"input_tokens": 9}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there"}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 9, "outputTokenCount": 2}},
)
COUNTED = {"inputTokens": 9, "outputTokens": 2, "totalTokens": 11}
CONVERSED: dict[str, Any] = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello there"}]}},
    "stopReason": "end_turn",
    "usage": COUNTED,
    "metrics": {"latencyMs": 5},
}
EVENTS: tuple[dict[str, Any], ...] = (
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"delta": {"text": "Hello"}, "contentBlockIndex": 0}},
    {"contentBlockDelta": {"delta": {"text": " there"}, "contentBlockIndex": 0}},
    {"contentBlockStop": {"contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": COUNTED, "metrics": {"latencyMs": 5}}},
)


def drawn(said: object, tokens: int = 0) -> Delta:
    return Delta(msgspec.json.encode(said), tokens)


def answer(call: Call) -> tuple[Step, ...]:
    """To its end."""
    if not call.stream:
        return Started("there"), drawn(MESSAGE if call.operation == "invoke" else CONVERSED, 2), Finished(USAGE)
    if call.operation == "invoke":
        return Started("there"), *(drawn(each, int("delta" in each)) for each in PIECES), Finished(USAGE)
    *deltas, last = EVENTS
    told = (drawn(each, int("contentBlockDelta" in each)) for each in deltas)
    return Started("there"), *told, Finished(USAGE, msgspec.json.encode(last))


class ScriptedBedrock:
    """A deployment whose tenant reaches a Bedrock that does as `steps` says."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.steps: tuple[Step, ...] | None = None  # None: a whole answer
        self.deployment = Deployment(script=self._says)
        self.deployment.kinds = ("bedrock",)
        target = Bedrock("there", region="us-east-1")
        self.deployment.tenancy.put_pool(Pool("bedrock", (target,), operations=("invoke",)))
        self.deployment.tenant("acme", pools=("bedrock",))
        self.deployment.tenancy.principals.put("acme", (signing.OWNER.arn,))

    def _says(self, _target: Target, call: Call) -> Iterable[Step]:
        self.calls.append(call)
        return answer(call) if self.steps is None else self.steps

    @property
    def asked(self) -> Any:
        """The body that reached Bedrock last."""
        return json.loads(bytes(self.calls[-1].fields["body"]))


def chunk_of(payload: bytes) -> Any:
    return json.loads(base64.b64decode(json.loads(payload)["bytes"]))


WAYS = ("invoke", "invoke-with-response-stream", "converse", "converse-stream")
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}


class Caller:
    """Calls by either door."""

    def __init__(self, gateway: Gateway, bedrock: ScriptedBedrock) -> None:
        self.gateway = gateway
        self.bedrock = bedrock
        self.key = bedrock.deployment.key()

    def __call__(
        self,
        way: str,
        body: Any = BODY,
        *,
        door: str = "keyed",
        model: str = quote(MODEL, safe=""),
        headers: dict[str, str] | None = None,
    ) -> Answer:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        sent = {"Content-Type": "application/json", "X-Request-ID": "r-1", **(headers or {})}
        if door == "signed":
            return signing.call(self.gateway, "POST", f"/v1/bedrock/model/{model}/{way}", content, sent)
        path = f"/tenants/acme/v1/bedrock/model/{model}/{way}"
        return self.gateway.call("POST", path, key=self.key, body=content, headers=sent)


def frames(answer: Answer) -> list[EventStreamMessage]:
    assert answer.headers["content-type"] == "application/vnd.amazon.eventstream"
    buffer = EventStreamBuffer()
    buffer.add_data(answer.body)
    return list(buffer)


def events(answer: Answer) -> list[Any]:
    """Those of ConverseStream as SDKs show them; of a model's own stream, what it says."""
    told = [(each.headers[":event-type"], each.payload) for each in frames(answer)]
    return [chunk_of(payload) if kind == "chunk" else {kind: json.loads(payload)} for kind, payload in told]


def refusal_of(answer: Answer) -> tuple[int, str]:
    """Its status and its exception, which stands wherever one of AWS's SDKs looks for it."""
    said = answer.json
    assert answer.headers["content-type"] == "application/json"
    assert said["__type"] == said["code"] == answer.headers["x-amzn-errortype"]
    assert said["message"]
    assert said["request_id"] == answer.headers["x-amzn-requestid"] == "r-1"
    return answer.status, said["__type"]
