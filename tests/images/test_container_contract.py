"""What the container answers on each of its doors, and how it refuses."""

import http.client
import json
import socket
from pathlib import Path

import pytest

from tests.images.conftest import Open
from tests.images.houses import House

CHAT = {"messages": [{"role": "user", "content": "hi"}]}
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
MB = 2**20


def test_ping_says_what_the_container_can_take(plain: House) -> None:
    answer = plain.call("GET", "/ping")
    assert answer.status == 200
    assert answer.json == {"status": "ok", "instance": "i-test", "capacity": 4, "in_flight": 0, "queue_depth": 0}


def test_a_probe_is_a_ping_through_the_only_door_sagemaker_leaves_open(plain: House) -> None:
    probe = plain.call("POST", "/invocations", b"not even JSON", {ATTRIBUTES: "op=probe"})
    assert (probe.status, probe.json) == (200, plain.ping())


def test_ping_is_503_with_the_reason_when_no_model_can_answer(house: Open) -> None:
    h = house()
    h.launcher.engines["one"].fault_text = "engine_dead"
    for answer in (h.call("GET", "/ping"), h.call("POST", "/invocations", CHAT, {ATTRIBUTES: "op=probe"})):
        assert (answer.status, answer.json["status"]) == (503, "engine_dead")


def test_an_invocation_answers_in_openai_form_and_tells_instance_and_wait(plain: House) -> None:
    answer = plain.call("POST", "/invocations", CHAT)
    assert answer.status == 200
    assert answer.json["choices"][0]["message"]["content"] == "w0 w1 w2 w3 w4 "
    assert answer.headers[ATTRIBUTES.lower()] == "instance=i-test;queue_ms=0"
    assert answer.headers["x-instance-id"] == "i-test"
    assert answer.headers["x-queue-time-ms"] == "0"


@pytest.mark.parametrize(
    ("path", "field"),
    [("/v1/chat/completions", "choices"), ("/v1/completions", "choices"), ("/v1/embeddings", "data")],
)
def test_openais_routes_answer_for_the_model_they_name(plain: House, path: str, field: str) -> None:
    assert field in plain.call("POST", path, {**CHAT, "model": "one"}).json
    assert field in plain.call("POST", path, CHAT).json, "with one model loaded, no name is needed"
    unknown = plain.call("POST", path, {**CHAT, "model": "other"})
    assert (unknown.status, unknown.code) == (404, "model_not_found")


@pytest.mark.parametrize("op", ["chat.completions", "completions", "embeddings"])
def test_an_attribute_chooses_the_operation(plain: House, op: str) -> None:
    answer = plain.call("POST", "/invocations", CHAT, {ATTRIBUTES: f"tenant=t1;op={op};priority=9;request=r-1"})
    assert ("data" if op == "embeddings" else "choices") in answer.json


def test_an_endpoint_with_one_model_is_that_model_whatever_it_is_called(plain: House) -> None:
    assert plain.call("POST", "/invocations", {**CHAT, "model": "a pool's name"}).status == 200


def test_models_are_listed_for_openais_clients(plain: House) -> None:
    assert [model["id"] for model in plain.call("GET", "/v1/models").json["data"]] == ["one"]


# The multi-model contract


def model_of(tmp_path: Path, name: str, mb: int = 0) -> str:
    folder = tmp_path / name
    folder.mkdir()
    with (folder / "weights").open("wb") as file:
        file.truncate(mb * MB)
    return str(folder)


def load(h: House, name: str, url: str) -> int:
    return h.call("POST", "/models", {"model_name": name, "url": url}).status


def test_models_come_and_go(house: Open, tmp_path: Path) -> None:
    h = house(models=(), multi_model=True)
    two = model_of(tmp_path, "two")
    assert h.call("GET", "/models").json == {"models": []}
    assert load(h, "two", two) == 200
    assert load(h, "two", two) == 409
    assert h.call("GET", "/models").json == {"models": [{"modelName": "two", "modelUrl": two}]}
    assert h.call("GET", "/models/two").json == {"modelName": "two", "modelUrl": two}
    assert h.call("POST", "/models/two/invoke", CHAT).status == 200
    assert h.call("POST", "/invocations", CHAT, {"X-Amzn-SageMaker-Target-Model": "two"}).status == 200
    assert h.call("DELETE", "/models/two").status == 200
    for method, path in (("DELETE", "/models/two"), ("GET", "/models/two"), ("POST", "/models/two/invoke")):
        gone = h.call(method, path, CHAT if method == "POST" else None)
        assert (gone.status, gone.code) == (404, "model_not_found")
    assert load(h, "two", two) == 200


def test_loading_past_the_memory_is_507_and_the_others_keep_serving(house: Open, tmp_path: Path) -> None:
    h = house(models=(), multi_model=True, memory_limit_mb=100)
    assert load(h, "a", model_of(tmp_path, "a", mb=60)) == 200
    refused = h.call("POST", "/models", {"model_name": "b", "url": model_of(tmp_path, "b", mb=41)})
    assert (refused.status, refused.code) == (507, "insufficient_memory")
    assert h.call("POST", "/models/a/invoke", CHAT).status == 200
    assert load(h, "c", model_of(tmp_path, "c", mb=40)) == 200
    assert h.call("DELETE", "/models/a").status == 200
    assert load(h, "b", str(tmp_path / "b")) == 200, "what was unloaded is free again"


def test_among_several_models_the_body_names_one(house: Open, tmp_path: Path) -> None:
    h = house(models=(), multi_model=True)
    for name in ("a", "b"):
        load(h, name, model_of(tmp_path, name))
    assert h.call("POST", "/invocations", {**CHAT, "model": "b"}).json["model"] == "b"
    assert h.call("POST", "/invocations", CHAT).status == 404


def test_a_model_that_cannot_be_read_is_the_callers_mistake(house: Open) -> None:
    h = house(models=(), multi_model=True)
    bodies: list[object] = [
        {"model_name": "x", "url": "/no/such/folder"},
        {"model_name": "", "url": "."},
        {"url": 3},
        b"{",
        [],
    ]
    for body in bodies:
        answer = h.call("POST", "/models", body)
        assert (answer.status, answer.code) == (400, "invalid_request")


# Bad input


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"stream": "yes"}',
        b'{"model": 3}',
        b'{"a": NaN}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"a":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
        b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000,
    ],
    ids=["empty", "cut", "list", "null", "stream", "model", "nan", "utf8", "surrogate", "deep list", "deep object"],
)
def test_a_body_that_makes_no_sense_is_400_and_takes_no_slot(plain: House, body: bytes) -> None:
    for path in ("/invocations", "/v1/chat/completions", "/models/one/invoke"):
        answer = plain.call("POST", path, body)
        assert (answer.status, answer.code) == (400, "invalid_request")
    assert plain.ping()["in_flight"] == 0


@pytest.mark.parametrize(
    "attributes",
    ["priority=10", "priority=-1", "priority=high", "priority=²", "op=sing", "tenant=" + "x" * 2000, "request=\x01"],
)
def test_attributes_that_make_no_sense_are_400(plain: House, attributes: str) -> None:
    answer = plain.call("POST", "/invocations", CHAT, {ATTRIBUTES: attributes})
    assert (answer.status, answer.code) == (400, "invalid_request")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_six_megabytes_is_413(plain: House, chunked: bool) -> None:
    body = json.dumps({"padding": "x" * (6 * MB)}).encode()
    if chunked:
        with socket.create_connection(("127.0.0.1", plain.port)) as wire:
            wire.sendall(b"POST /invocations HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            wire.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            head = wire.recv(65536)
        assert head.startswith(b"HTTP/1.1 413 ")
    else:
        answer = plain.call("POST", "/invocations", body)
        assert (answer.status, answer.code) == (413, "request_too_large")
    assert plain.ping()["in_flight"] == 0


def test_just_six_megabytes_are_taken(plain: House) -> None:
    body = json.dumps({"padding": "x" * (6 * MB - 15)}).encode()
    assert len(body) == 6 * MB
    assert plain.call("POST", "/invocations", body).status == 200


def test_a_body_that_never_comes_is_408(house: Open) -> None:
    h = house(body_timeout_s=0)
    with socket.create_connection(("127.0.0.1", h.port)) as wire:
        wire.sendall(b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{")
        assert wire.recv(65536).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /ping HTTP/1.1\r\nx: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /ping HTTP/1.1\r\nx: " + b"y" * 400_000, 431),
        (b"GET /ping HTTP/1.1\r\n" + b"x: y\r\n" * 20_000, 431),
        (b"GET /" + b"p" * 40_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n bad\r\n\r\n", 400),
    ],
    ids=["header", "endless header", "many headers", "path", "no HTTP", "bad header"],
)
def test_a_head_that_is_too_long_or_no_http_is_refused_in_json(plain: House, sent: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", plain.port)) as wire:
        wire.sendall(sent)
        answer = wire.recv(65536)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
    assert plain.ping()["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/invocations", 405), ("PUT", "/models", 405), ("POST", "/v1/responses", 404)],
)
def test_an_unknown_door_is_refused_in_openais_shape(plain: House, method: str, path: str, status: int) -> None:
    answer = plain.call(method, path)
    assert (answer.status, answer.code) == (status, "not_found")


# The engine's own troubles


@pytest.mark.parametrize(("said", "passed_on"), [(400, 400), (422, 422), (500, 502), (503, 502)])
def test_an_engines_refusal_is_passed_on_and_its_failure_is_502(plain: House, said: int, passed_on: int) -> None:
    for stream in (False, True):
        answer = plain.call("POST", "/invocations", {**CHAT, "stream": stream, "script": {"status": said}})
        assert (answer.status, answer.code) == (passed_on, "scripted")


def test_an_engine_that_breaks_off_is_502(plain: House) -> None:
    answer = plain.call("POST", "/invocations", {**CHAT, "script": {"break_at": 2}})
    assert (answer.status, answer.code) == (502, "engine_failed")


def test_an_engine_that_hangs_is_504_and_its_slot_is_free(house: Open) -> None:
    h = house(request_timeout_s=0.05)
    answer = h.call("POST", "/invocations", {**CHAT, "script": {"break_at": -1}})
    assert (answer.status, answer.code) == (504, "engine_timeout")
    assert h.ping()["in_flight"] == 0


def test_a_mistake_of_ours_is_500_without_its_text(house: Open) -> None:
    h = house()
    del h.launcher.engines["one"].name  # the engine now raises an AttributeError
    answer = h.call("POST", "/invocations", CHAT)
    assert (answer.status, answer.code) == (500, "internal_error")
    assert b"Attribute" not in answer.body


def test_a_connection_serves_many_requests(plain: House) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", plain.port)
    connection.connect()
    wire = connection.sock
    for _ in range(3):
        connection.request("POST", "/invocations", json.dumps({**CHAT, "stream": True}))
        assert connection.getresponse().read().endswith(b"data: [DONE]\n\n")
        assert connection.sock is wire
    connection.close()
