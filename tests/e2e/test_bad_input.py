"""Bad requests and bad engines against the whole running system: a clear error, one entry if admitted, no lease."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.e2e.admin import admin, bearer, entries, http, in_flight, new_tenant, settled
from tests.e2e.test_openai_sdk import QUESTION, client
from tests.engines.servers import LAST_CHUNK, Request, Wire, chunk, serving, stream_head, whole
from tests.local_system import RunningSystem
from tests.patience import PATIENCE_S
from tests.two_gateways import TwoGateways

CHAT = {"model": "demo", "messages": QUESTION}
HEADERS_TOO_LONG = {"X-Long": "a" * 11_000}


def deep() -> bytes:
    return b'{"model":"demo","messages":[{"role":"user","content":' + b"[" * 200_000 + b"]" * 200_000 + b"}]}"


BAD: dict[str, tuple[int, dict[str, str], bytes]] = {
    "not JSON": (400, {}, b"{"),
    "not UTF-8": (400, {}, b'{"model":"\xff\xfe"}'),
    "an array": (400, {}, b"[]"),
    "no body": (400, {}, b""),
    "a wrong type": (400, {}, json.dumps({**CHAT, "max_tokens": "many"}).encode()),
    "no messages": (400, {}, b'{"model":"demo"}'),
    "too many choices": (400, {}, json.dumps({**CHAT, "n": 10**6}).encode()),
    "an enormous ceiling": (400, {}, json.dumps({**CHAT, "max_tokens": 10**30}).encode()),
    "nesting without end": (400, {}, deep()),
    "an unknown model": (404, {}, json.dumps({**CHAT, "model": "x" * 5_000}).encode()),
    "a wrong value for the engine": (400, {}, json.dumps({**CHAT, "temperature": "hot"}).encode()),
    "another content type": (400, {"Content-Type": "text/csv"}, json.dumps(CHAT).encode()),
    "a body over the limit": (413, {}, b" " * 6_000_001),
    "headers over the limit": (413, HEADERS_TOO_LONG, json.dumps(CHAT).encode()),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_gets_a_clear_error_in_the_routes_own_shape(running_system: RunningSystem, name: str) -> None:
    expected, headers, body = BAD[name]
    key = bearer(running_system.api_key)
    openai_url = f"{running_system.base_url}/tenants/{running_system.tenant}/v1/chat/completions"
    status, answered, content = http("POST", openai_url, headers={**key, **headers}, raw=body)
    error = json.loads(content)["error"]
    assert status == expected, content
    assert error["message"] and error["code"] and error["request_id"] == answered["x-request-id"]
    assert len(content) < 1_000
    assert b"Traceback" not in content

    native = {**key, "X-Model-Pool": "x" if name == "an unknown model" else "demo", **headers}
    status, answered, content = http("POST", f"{running_system.base_url}/inference", headers=native, raw=body)
    problem = json.loads(content)
    assert status == expected, content
    assert answered["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["detail"] and problem["request_id"] == answered["x-request-id"]
    status, _, page = http("GET", running_system.base_url + problem["type"])
    assert status == 200, page


def test_unknown_paths_and_methods_are_problems_too(running_system: RunningSystem) -> None:
    for method, path, expected in (("GET", "/no/such/path", 404), ("PUT", "/health", 405)):
        status, headers, content = http(method, running_system.base_url + path)
        assert status == json.loads(content)["status"] == expected
        assert json.loads(content)["request_id"] == headers["x-request-id"]


def test_a_request_that_is_no_http_does_no_harm(running_system: RunningSystem) -> None:
    host, port = running_system.base_url.removeprefix("http://").split(":")
    for garbage in (
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert client(running_system).models.retrieve("demo").id == "demo"


Engine = Callable[[Request, Wire], None]

DELTA = b'data: {"choices":[{"index":0,"delta":{"content":"one"},"finish_reason":null}]}\n\n'


def garbage(_: Request, wire: Wire) -> None:
    wire.send(whole(b"<html>it works!</html>", 200, content_type="text/html"))


def dies_at_once(_: Request, wire: Wire) -> None:
    wire.hang_up()


def internal_error(_: Request, wire: Wire) -> None:
    wire.send(whole(b'{"error":{"message":"secret stack trace at /srv/engine.py"}}', 500))


def dies_mid_stream(_: Request, wire: Wire) -> None:
    wire.send(stream_head(), chunk(DELTA))
    wire.hang_up()


def garbage_mid_stream(_: Request, wire: Wire) -> None:
    wire.send(stream_head(), chunk(DELTA), chunk(b"data: {oh no\n\n"), LAST_CHUNK)


def ends_without_done(_: Request, wire: Wire) -> None:
    wire.send(stream_head(), chunk(DELTA), LAST_CHUNK)


def hangs(_: Request, wire: Wire) -> None:
    wire.await_departure()


def hangs_mid_stream(_: Request, wire: Wire) -> None:
    wire.send(stream_head(), chunk(DELTA))
    wire.await_departure()


def offered(system: RunningSystem, pool: str, url: str) -> str:
    """A tenant with one pool, run by the server at this URL; its key."""
    target = {"name": "bad", "engine": "openai_compatible", "url": f"{url}/v1"}
    admin(system, "PUT", f"/pools/{pool}", {"name": pool, "targets": [target]})
    return new_tenant(system, pool, pools=[pool])


def withdrawn(system: RunningSystem, pool: str) -> None:
    admin(system, "DELETE", f"/pools/{pool}")


@pytest.mark.parametrize("engine", [garbage, dies_at_once, internal_error], ids=lambda engine: str(engine.__name__))
def test_an_engine_that_breaks_before_its_first_byte(running_system: RunningSystem, engine: Engine) -> None:
    tenant = f"bad-{engine.__name__.replace('_', '-')}"
    with serving(engine) as server:
        key = offered(running_system, tenant, server.root)
        chat = client(running_system, key, tenant).chat.completions
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as refused:
                chat.create(model=tenant, messages=QUESTION, stream=stream)
            assert refused.value.status_code in (502, 503)
            assert "secret" not in str(refused.value)
    withdrawn(running_system, tenant)
    assert [(entry["outcome"], entry["charged"]["tokens"]) for entry in entries(running_system, tenant, key)] == [
        ("failed", 0)
    ] * 2
    assert in_flight(running_system, tenant, key) == 0


@pytest.mark.parametrize(
    "engine", [dies_mid_stream, garbage_mid_stream, ends_without_done], ids=lambda engine: str(engine.__name__)
)
def test_an_engine_that_breaks_mid_stream(running_system: RunningSystem, engine: Engine) -> None:
    tenant = f"bad-{engine.__name__.replace('_', '-')}"
    with serving(engine) as server:
        key = offered(running_system, tenant, server.root)
        stream = client(running_system, key, tenant).chat.completions.create(
            model=tenant, messages=QUESTION, stream=True
        )
        texts: list[str] = []
        with pytest.raises(openai.APIError) as broke:
            for piece in stream:
                texts.append(piece.choices[0].delta.content)
        assert texts == ["one"]
        assert broke.value.code == "engine_failed"
    withdrawn(running_system, tenant)
    entry = settled(running_system, tenant, key, 1)[0]
    assert (entry["outcome"], entry["reason"], entry["charged"]["tokens"]) == ("failed", "EngineFailed", 0)


def impatient(two_gateways: TwoGateways, name: str, engine: str) -> tuple[Any, str]:
    """The chats of a tenant of this name, whose engine is at this URL, and its key."""
    key = two_gateways.offer(name, {"name": "bad", "engine": "openai_compatible", "url": f"{engine}/v1"})
    base = f"{two_gateways.impatient.base_url}/tenants/{name}/v1"
    return OpenAI(base_url=base, api_key=key, max_retries=0, timeout=PATIENCE_S).chat.completions, key


def test_an_engine_that_hangs(two_gateways: TwoGateways) -> None:
    with serving(hangs) as server:
        chat, key = impatient(two_gateways, "hangs", server.root)
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as refused:
                chat.create(model="hangs", messages=QUESTION, stream=stream)
            assert refused.value.status_code == 504
    assert {entry["reason"] for entry in entries(two_gateways, "hangs", key)} == {"EngineTimedOut"}
    assert in_flight(two_gateways, "hangs", key) == 0


def test_an_engine_that_hangs_mid_stream(two_gateways: TwoGateways) -> None:
    with serving(hangs_mid_stream) as server:
        chat, key = impatient(two_gateways, "stalls", server.root)
        stream = chat.create(model="stalls", messages=QUESTION, stream=True)
        with pytest.raises(openai.APIError) as broke:
            list(stream)
        assert broke.value.code == "engine_timed_out"
    assert settled(two_gateways, "stalls", key, 1)[0]["reason"] == "EngineTimedOut"


def test_logs_hold_no_prompt_no_answer_and_no_secret(running_system: RunningSystem) -> None:
    marker = "xyzzy-4711-plugh"
    messages: list[Any] = [{"role": "user", "content": marker}]
    client(running_system).chat.completions.create(model="demo", messages=messages, max_tokens=4)
    with pytest.raises(openai.BadRequestError):
        client(running_system).chat.completions.create(model="demo", messages=messages, temperature=marker)
    for log in Path(running_system.state_dir, "logs").iterdir():
        text = log.read_text()
        assert marker not in text, log.name
        assert running_system.api_key.rpartition("_")[2] not in text, log.name
