"""Secrets, prompts and answers stay out of logs, and faults keep their text to themselves."""

from collections.abc import Iterable, Iterator

import pytest

from chalicelib import wiring
from chalicelib.call import Call
from chalicelib.engines.scripted import Step, whole
from chalicelib.pool import Target
from chalicelib.refusal import EngineFailed
from chalicelib.tenancy.key_text import parse
from tests.small_deployments import Deployment, Gateway

PROMPT, ANSWER, FAULT = "the prompt about apples", "the answer about pears", "a fault that quotes the prompt"


def says(target: Target, call: Call) -> Iterable[Step]:
    if target.name == "faulty":
        raise RuntimeError(f"{FAULT}: {PROMPT}")
    if target.name == "broken":
        return (EngineFailed("The model failed."),)
    return whole(ANSWER)


@pytest.fixture
def talking() -> Iterator[Deployment]:
    deployment = Deployment(script=says)
    for pool in ("good", "faulty", "broken"):
        deployment.pool(pool, pool)
    deployment.tenant("acme", pools=("good", "faulty", "broken"))
    with wiring.opening_into(deployment.rooms()):
        yield deployment


def test_neither_logs_nor_errors_tell_secrets(
    gateway: Gateway, talking: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    key = talking.key("acme")
    token = parse(key)
    assert token is not None
    digest = talking.tenancy.key("acme", token.key_id).digest
    errors = ""
    for model, status in [("good", 200), ("faulty", 500), ("broken", 503), ("nothing", 404)]:
        bodies: list[tuple[str, dict[str, object]]] = [
            ("/tenants/acme/v1/chat/completions", {"messages": [{"role": "user", "content": PROMPT}]}),
            ("/inference", {"prompt": PROMPT}),
        ]
        for path, body in bodies:
            answer = gateway.call("POST", path, key=key, json={"model": model, **body})
            assert answer.status == status, answer.body
            errors += "" if status == 200 else answer.body.decode() + str(answer.headers)
    errors += gateway.call("GET", "/tenants/acme", key=f"{key}x").body.decode()
    errors += gateway.call("GET", f"/tenants/{key}", key=key).body.decode()
    made = gateway.call("POST", "/tenants/acme/keys", key=key, json={"role": "viewer"}).json["api_key"]
    new = parse(made)
    assert new is not None
    logged = "".join(capsys.readouterr())
    assert '"Fault":1' in logged, "the fault is counted"
    for secret in (token.secret, new.secret, digest, PROMPT, ANSWER, FAULT):
        assert secret not in logged
        assert secret not in errors


def test_a_fault_says_where_it_was_but_not_what(
    gateway: Gateway, talking: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"model": "faulty", "prompt": PROMPT}
    answer = gateway.call("POST", "/inference", key=talking.key("acme"), json=body, headers={"X-Request-ID": "lost-1"})
    logged = capsys.readouterr().out
    assert (answer.status, answer.json["request_id"]) == (500, "lost-1")
    assert '"error":"RuntimeError"' in logged
    assert "test_silence.py" in logged
    assert '"request_id":"lost-1"' in logged
