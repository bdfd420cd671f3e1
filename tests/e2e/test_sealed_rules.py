"""The official openai SDK, sealed, of a tenant with rules: judged where only the enclave can read it."""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import msgspec
import openai
import pytest
import requests

import cloister
from guard import Rules, SentRules
from guard.bodies import NOT_THE_KEYS
from tests.e2e.admin import admin, entries, settled
from tests.e2e.sealed_tenants import Sealed, SealedTenant, enclave_of, sealed_tenant
from tests.images.houses import Client, Gated
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S

MODES = ["hpke", "esdk", "kms"]
STREAMING = ["hpke", "esdk"]
MARK = secrets.token_hex(8)
RULES: Any = {
    "rules": [
        {"name": "badge", "pattern": r"\bid-\d{4}\b", "action": "redact", "direction": "both"},
        {"name": "secret", "pattern": f"secret {MARK}", "action": "refuse", "direction": "in"},
        {"name": "bomb", "pattern": "boom!", "action": "refuse", "direction": "out"},
    ],
    "refusal": "Not here.",
}

QUESTION = [{"role": "user", "content": "hi"}]

Change = Callable[[bytes], bytes]


@contextmanager
def meddler(behind: Client, change: Change) -> Iterator[int]:
    """The port of somebody between gateway and container, who changes what is sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(behind.call("GET", self.path))

        def do_POST(self) -> None:
            body = change(self.rfile.read(int(self.headers["content-length"])))
            headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
            self._answer(behind.call("POST", self.path, body, headers))

        def _answer(self, answer: Any) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["content-type"])
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def put_pool(system: RunningSystem, target: Any) -> None:
    admin(system, "PUT", "/pools/ruled", {"name": "ruled", "targets": [target], "sealed": True})


@pytest.fixture(scope="module")
def container(running_system: RunningSystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    """Its model says the words of the request, as it was asked them."""
    with Gated(tmp_path_factory.mktemp("ruled"), enclave=enclave_of(running_system)) as running:
        put_pool(running_system, running.target)
        yield running
        admin(running_system, "DELETE", "/pools/ruled")


@pytest.fixture(scope="module")
def acme(running_system: RunningSystem, container: Gated) -> Sealed:
    tenant, arn = sealed_tenant(running_system, "sealed-rules", pools=["ruled"])
    put = requests.put(f"{tenant.url}/guardrails", json=RULES, headers=tenant.headers, timeout=PATIENCE_S)
    assert put.status_code == 200, put.text
    return Sealed(tenant, arn)


def chat(sealed: Sealed, mode: str, text: str, *words: str, **more: Any) -> Any:
    return sealed.client(mode).chat.completions.create(
        model="ruled",
        messages=[{"role": "user", "content": text}],
        extra_body={"script": {"words": words}} if words else {},
        **more,
    )


def newest(sealed: Sealed) -> dict[str, Any]:
    return entries(sealed.tenant.system, sealed.tenant.name, sealed.tenant.api_key)[0]


@pytest.mark.parametrize("mode", MODES)
def test_a_prompt_that_is_refused_costs_nothing_and_is_told_in_the_tenants_words(acme: Sealed, mode: str) -> None:
    stream = mode != "kms"
    with pytest.raises(openai.BadRequestError, match="Not here") as refused:
        chat(acme, mode, f"tell me secret {MARK}", stream=stream)
    assert refused.value.code == "content_refused"
    entry = newest(acme)
    assert (entry["reason"], entry["charged"]["tokens"], entry["sealed"]) == ("ContentRefused", 0, mode)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_redacted_the_model_is_not_asked_and_the_answer_does_not_say(
    acme: Sealed, container: Gated, mode: str
) -> None:
    container.gate.let(1)
    answer = chat(
        acme, mode, "hi", "I was asked of id-1234"
    )  # a part of the request, which the model says as it got it
    assert answer.choices[0].message.content == "I was asked of [badge]"
    assert newest(acme)["charged"]["tokens"] == answer.usage.total_tokens


def test_a_client_that_knows_its_rules_takes_no_answer_by_others(acme: Sealed, container: Gated) -> None:
    known = hashlib.sha256(SentRules(msgspec.convert(RULES, Rules)).written()).hexdigest()
    for mode in MODES:
        for expected in (known, "0" * 64, ""):
            for stream in {False, mode != "kms"}:
                asking: Any = {"messages": QUESTION, "extra_body": {"script": {"words": ["fine"]}}, "stream": stream}
                container.gate.let(1)
                client = acme.client(mode, rules_sha256=expected)
                if expected == known:
                    answer = client.chat.completions.create(model="ruled", **asking)
                    said = next(iter(answer)).choices[0].delta if stream else answer.choices[0].message
                    assert said.content == "fine"
                else:
                    with pytest.raises(cloister.OtherRules):
                        list(client.chat.completions.create(model="ruled", **asking))
    with pytest.raises(cloister.NotConfigured, match="python -m guard"):
        acme.client("hpke", rules_sha256="mine")


@pytest.mark.parametrize("mode", STREAMING)
def test_a_match_in_pieces_is_redacted_in_a_stream(acme: Sealed, container: Gated, mode: str) -> None:
    container.gate.let(4)
    chunks = list(chat(acme, mode, "hi", "I am id", "-12", "34, and", " you?", stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "I am [badge], and you?"
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("mode", STREAMING)
def test_a_stream_is_cut_where_a_rule_refuses_it(acme: Sealed, container: Gated, mode: str) -> None:
    container.gate.let(3)  # a fourth word waits for ever, unless somebody stops the model
    chunks = []
    with pytest.raises(openai.APIError, match="Not here"):
        for chunk in chat(acme, mode, "hi", "so: ", "boo", "m!", "never", stream=True):
            chunks.append(chunk)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "so: "
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    container.await_rest()
    (entry, *_) = settled(acme.tenant.system, acme.tenant.name, acme.tenant.api_key, 1)
    assert entry["reason"] == "ContentRefused"
    assert entry["charged"]["tokens"] > 3  # those, and the prompt


@pytest.mark.parametrize("mode", MODES)
def test_a_whole_answer_that_is_refused_is_charged_as_its_engine_counted(
    acme: Sealed, container: Gated, mode: str
) -> None:
    container.gate.let(2)
    with pytest.raises(openai.BadRequestError, match="Not here") as refused:
        chat(acme, mode, "hi", "boo", "m!")
    assert refused.value.code == "content_refused"
    entry = newest(acme)
    assert (entry["reason"], entry["charged"]["tokens"]) == ("ContentRefused", 3)


def test_a_key_that_is_limited_to_tools_offers_no_other_one_sealed(acme: Sealed, container: Gated) -> None:
    keys = f"{acme.tenant.url}/keys"
    wanted: Any = {"role": "owner", "scopes": {"tools": ["get_*"]}}
    answer = requests.post(keys, json=wanted, headers=acme.tenant.headers, timeout=PATIENCE_S)
    assert answer.status_code == 201, answer.text
    narrowed = Sealed(SealedTenant(acme.tenant.system, acme.tenant.name, answer.json()["api_key"]), acme.arn)

    def offering(name: str) -> Any:
        return chat(narrowed, "hpke", "hi", "fine", tools=[{"type": "function", "function": {"name": name}}])

    container.gate.let(1)
    assert offering("get_mail").choices[0].message.content == "fine"
    with pytest.raises(openai.BadRequestError, match="Not here"):
        offering("put_mail")
    requests.put(f"{acme.tenant.url}/guardrails", json={}, headers=acme.tenant.headers, timeout=PATIENCE_S)
    try:
        with pytest.raises(openai.BadRequestError, match=NOT_THE_KEYS[:30]):
            offering("put_mail")
    finally:
        requests.put(f"{acme.tenant.url}/guardrails", json=RULES, headers=acme.tenant.headers, timeout=PATIENCE_S)


@pytest.mark.parametrize("mode", MODES)
def test_rules_that_are_changed_between_gateway_and_enclave_open_nothing(
    acme: Sealed, container: Gated, running_system: RunningSystem, mode: str
) -> None:
    changed: list[bytes] = []

    def softened(body: bytes) -> bytes:
        softer = body.replace(b'"action":"refuse"', b'"action":"redact"')
        changed.extend([softer] if softer != body else [])
        return softer

    cases: list[tuple[Change, str]] = [(lambda body: body, "content_refused"), (softened, "key_validation_failed")]
    try:
        for change, code in cases:
            with meddler(container, change) as port:
                put_pool(running_system, {**container.target, "url": f"http://127.0.0.1:{port}/v1"})
                with pytest.raises(openai.APIStatusError) as refused:
                    chat(acme, mode, f"secret {MARK}")
            assert refused.value.code == code
            assert newest(acme)["charged"]["tokens"] == 0
    finally:
        put_pool(running_system, container.target)
    assert changed


def test_the_gateways_log_says_that_something_was_found_and_never_what(
    acme: Sealed, container: Gated, running_system: RunningSystem
) -> None:
    container.gate.let(1)
    word = secrets.token_hex(8)
    answer = chat(acme, "hpke", f"{word} id-1234", f"{word} id-1234")
    assert answer.choices[0].message.content == f"{word} [badge]"
    logs = b"".join(path.read_bytes() for path in (running_system.state_dir / "logs").rglob("*") if path.is_file())
    lines = [json.loads(line) for line in logs.splitlines() if b'"GuardFindings":1' in line and b"sealed-rules" in line]
    assert {(line["where"], line["rule"], line["findings"]) for line in lines} == {("sealed", "sealed request", 1)}
    assert word.encode() not in logs
