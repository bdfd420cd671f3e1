"""What is said, and what opens something, reaches no sink: whichever telemetry, dialect and outcome."""

import base64
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from chalicelib import wiring
from chalicelib.call import Call, Operation
from chalicelib.engines.scripted import Step, whole, words
from chalicelib.pool import Pool, Scripted, Target
from chalicelib.sight.bounded import Bounded
from tests.patience import until
from tests.sight.sinks import KINDS, Sink, sink
from tests.small_deployments import T0, Deployment, Gateway

CANARY = "canary"
"""In everything below that is a caller's to keep."""

TRACED = {"traceparent": f"00-{'a1' * 16}-{'b2' * 8}-01"}
TEXT = f"{CANARY} in a prompt"
PICTURE = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + CANARY.encode()).decode()
PAPER = "data:application/pdf;base64,QQ=="
CHAT = {
    "model": "model-a",
    "messages": [{"role": "system", "content": f"{CANARY} in a rule"}, {"role": "user", "content": TEXT}],
    "user": f"{CANARY}-user",
    "metadata": {"name": f"{CANARY}-metadata"},
    "tools": [{"type": "function", "function": {"name": f"{CANARY}_tool", "parameters": {"type": "object"}}}],
}
WITH_FILE = {
    "model": "model-a",
    "messages": [
        {
            "role": "user",
            "content": [
                {
                    "type": "file",
                    "file": {"filename": f"{CANARY}.pdf", "file_data": PAPER},
                },
                {"type": "image_url", "image_url": {"url": PICTURE}},
            ],
        }
    ],
}
MESSAGES = {"model": "model-a", "max_tokens": 9, "messages": [{"role": "user", "content": TEXT}], "system": TEXT}
RESPONSE = {"model": "model-a", "input": TEXT, "instructions": TEXT}
COMPLETION = {"model": "model-a", "prompt": TEXT}
EMBEDDING = {"model": "model-a", "input": [TEXT]}
NATIVE = {"model": "model-a", "messages": [{"role": "user", "content": TEXT}]}
V1 = "/tenants/acme/v1"
REQUESTS: list[tuple[str, Any]] = [
    (f"{V1}/chat/completions", CHAT),
    (f"{V1}/chat/completions", CHAT | {"stream": True}),
    (f"{V1}/chat/completions", WITH_FILE),
    (f"{V1}/chat/completions", CHAT | {"model": f"{CANARY}-model"}),
    (f"{V1}/chat/completions", CHAT | {"max_tokens": f"{CANARY}-tokens"}),
    (f"{V1}/completions", COMPLETION),
    (f"{V1}/embeddings", EMBEDDING),
    (f"{V1}/messages", MESSAGES),
    (f"{V1}/messages", MESSAGES | {"stream": True}),
    (f"{V1}/messages/count_tokens", {name: MESSAGES[name] for name in ("model", "messages")}),
    (f"{V1}/responses", RESPONSE),
    (f"{V1}/responses", RESPONSE | {"stream": True, "store": False}),
    (f"{V1}/bedrock/model/model-a/invoke", {"messages": MESSAGES["messages"], "prompt": TEXT}),
    (f"{V1}/bedrock/model/model-a/converse", {"messages": [{"role": "user", "content": [{"text": TEXT}]}]}),
    ("/inference", NATIVE),
    (f"/tenants/{CANARY}/v1/chat/completions", CHAT),
    (f"{V1}/models/{CANARY}", {}),
    (f"/nowhere/{CANARY}?{CANARY}=1", {}),
]
KEYS = {"a wrong key": f"ck_acme.{CANARY}_0123", "a token": f"eyJhbGciOiJSUzI1NiJ9.{CANARY}.x"}


@pytest.fixture(params=KINDS)
def telling(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Sink]:
    def written() -> str:
        said = capsys.readouterr()
        assert CANARY not in said.err
        return said.out

    with ExitStack() as opened:
        yield sink(request.param, opened, written)


def _answered(_target: Target, call: Call) -> Iterable[Step]:
    if b"broken" in b"".join(bytes(value) for value in call.fields.values()):
        raise ValueError(f"{CANARY} in a bug of an engine's")
    said = f"{CANARY} in an answer"
    return words(said) if call.stream else whole(said)


def test_nothing_that_is_a_caller_s_to_keep_reaches_a_sink(gateway: Gateway, telling: Sink) -> None:
    deployment = Deployment(script=_answered)
    deployment.telemetry = Bounded(telling.telemetry)
    operations: tuple[Operation, ...] = ("chat.completions", "completions", "embeddings", "invoke")
    deployment.tenancy.put_pool(Pool("model-a", (Scripted("a", url="a"),), operations))
    deployment.tenant()
    key = deployment.key()
    sent = 0
    with wiring.opening_into(deployment.rooms()):
        for path, body in REQUESTS:
            headers = TRACED | {"User-Agent": CANARY, "X-Api-Version": CANARY, "Idempotency-Key": f"{CANARY}-{sent}"}
            for credential in (key, *KEYS.values()):
                gateway.call("POST", path, key=credential, json=body, headers=headers)
                sent += 1
        gateway.call("POST", REQUESTS[0][0], key=key, body=f'{{"{CANARY}'.encode(), headers=TRACED)
        broken = gateway.call("POST", REQUESTS[0][0], key=key, json=CHAT | {"user": "broken"}, headers=TRACED)
        assert broken.status == 500
        assert CANARY.encode() not in broken.body
        listed = gateway.call("GET", "/tenants/acme/requests", key=key)
        assert listed.status == 200
        assert CANARY.encode() not in listed.body
    until(lambda: not _under_way(deployment))
    told = telling.told()
    assert CANARY.encode() not in told.raw
    # And it was not for want of lines.
    events = [line for line in told.lines if "RequestCount" in line]
    assert {str(line.get("reason", "")) for line in events} >= {"", "Unauthenticated", "NotFound", "Malformed"}
    assert {str(line.get("operation", "")) for line in events} >= {"chat.completions", "messages", "responses"}
    assert any("Fault" in line for line in told.lines)
    assert len(told.spans) > 10
    for kept in deployment.store.ledger.kept("acme", 0, T0 * 2, None, 100).kept:
        assert CANARY not in kept.text


def _under_way(deployment: Deployment) -> bool:
    meter = deployment.store.meters.reading("acme")
    return meter is not None and bool(meter.leases)
