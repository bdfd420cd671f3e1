"""Sealed calls through the container, the enclave's own program and the local KMS: only the tenant reads the answer."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sealed import hpke
from tests.images.conftest import Open
from tests.images.enclaves import (
    CONTENT,
    FINISHED,
    PIECE,
    POOL,
    REFUSED,
    STARTED,
    TENANT,
    WAITING,
    Backstage,
    Frames,
    frames,
)
from tests.images.houses import DEMO, Gatekeeper, House, Process, process
from tests.patience import until

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
STREAM = CHAT | {"stream": True}
WORDS = "w0 w1 w2 w3 w4 "
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


@pytest.fixture
def sealing(house: Open, stage: Backstage) -> House:
    return house(enclave=stage.settings())


def words(events: bytes) -> str:
    data = [line.removeprefix(b"data: ") for line in events.split(b"\n") if line.startswith(b"data: {")]
    deltas = [choice["delta"] for event in data for choice in json.loads(event)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.parametrize("mode", ["kms", "esdk", "hpke"])
@pytest.mark.parametrize("path", ["/invocations", "/models/one/invoke", "/v1/chat/completions"])
def test_a_sealed_call_is_answered_to_its_tenant_alone(sealing: House, stage: Backstage, mode: str, path: str) -> None:
    sealed = stage.seal(sealing, mode, CHAT | {"nonce": "n-1"})
    answer = sealing.call("POST", path, sealed.body, CONTENT)
    assert (answer.status, answer.headers["content-type"]) == (200, CONTENT["content-type"])
    assert answer.headers[ATTRIBUTES.lower()] == "instance=i-test;queue_ms=0"
    assert WORDS.encode() not in answer.body
    told = Frames(answer.body)
    assert told.kinds == [STARTED, PIECE, FINISHED]
    assert told.told(STARTED) == {"queue_ms": 0}
    assert told.told(FINISHED) == {"prompt_tokens": 1, "completion_tokens": 5}
    assert told.tokens == [5]
    assert json.loads(sealed.opened(told.sealed))["choices"][0]["message"]["content"] == WORDS


@pytest.mark.parametrize("mode", ["esdk", "hpke"])
@pytest.mark.parametrize("asked", [True, False])
def test_a_sealed_stream_is_the_engines_own_and_counts_for_who_asked(
    sealing: House, stage: Backstage, mode: str, asked: bool
) -> None:
    request = STREAM | {"stream_options": {"include_usage": asked}}
    sealed = stage.seal(sealing, mode, request, stream=True)
    told = Frames(sealing.call("POST", "/invocations", sealed.body, CONTENT).body)
    events = sealed.opened(told.sealed)
    assert words(events) == WORDS
    assert b"data: [DONE]\n\n" in events
    assert (b'"usage":' in events) is asked
    assert told.kinds[0] == STARTED
    assert sum(told.tokens) == 5
    assert told.told(FINISHED) == {"prompt_tokens": 1, "completion_tokens": 5}


def test_each_sealed_token_leaves_before_the_next_is_generated(house: Open, stage: Backstage) -> None:
    gate = Gatekeeper()
    h = house(gate, enclave=stage.settings())
    keys = stage.key_configuration(h)
    wire, opener = hpke.seal_request(
        keys, tenant=TENANT, request_id="r-token", pool=POOL, plaintext=json.dumps(STREAM).encode()
    )
    claims = {"use": "run", "mode": "hpke", "request_id": "r-token", "pool": POOL, "operation": "chat.completions"}
    body = stage.permitted(wire, **claims, surface="openai", stream=True, ceiling_tokens=64)
    gate.let(1)
    got = frames(h.open("POST", "/invocations", body, CONTENT))
    assert next(got)[0] == STARTED
    for index in range(5):
        kind, piece = next(got)
        assert kind == PIECE
        assert words(b"".join(opener.feed(piece[2:]))) == f"w{index} ", "it is here although the engine may not go on"
        gate.let(1)
    assert [kind for kind, _ in got][-1] == FINISHED


def test_the_native_surface_answers_in_its_own_shape(sealing: House, stage: Backstage) -> None:
    for mode in ("kms", "esdk", "hpke"):
        sealed = stage.seal(sealing, mode, {"prompt": "hi", "nonce": "n"}, surface="native")
        told = Frames(sealing.call("POST", "/invocations", sealed.body, CONTENT).body)
        answer = json.loads(sealed.opened(told.sealed))
        assert answer["text"] == WORDS
        assert answer["usage"] == {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}
        assert (answer["finish_reason"], answer["model"]) == ("stop", POOL)
        assert set(answer) - {"echo"} == {"text", "finish_reason", "usage", "model", "request_id"}


def test_sealed_embeddings(sealing: House, stage: Backstage) -> None:
    sealed = stage.seal(sealing, "hpke", {"input": "hi"}, operation="embeddings", ceiling_tokens=0)
    answer = sealing.call("POST", "/v1/embeddings", sealed.body, CONTENT)
    assert json.loads(sealed.opened(Frames(answer.body).sealed))["data"][0]["embedding"] == [0.6, 0.8]


def test_many_sealed_calls_at_once_keep_apart(sealing: House, stage: Backstage) -> None:
    calls = [stage.seal(sealing, "hpke", CHAT | {"script": {"tokens": n, "delay_ms": 1}}) for n in range(1, 13)]
    with ThreadPoolExecutor(12) as pool:
        answers = pool.map(lambda call: sealing.call("POST", "/invocations", call.body, CONTENT), calls)
    for count, (call, answer) in enumerate(zip(calls, answers, strict=True), 1):
        told = Frames(answer.body)
        assert told.tokens == [count]
        assert json.loads(call.opened(told.sealed))["usage"]["completion_tokens"] == count


# What is refused


def refused(h: House, body: bytes, path: str = "/invocations") -> tuple[int, str]:
    answer = h.call("POST", path, body, CONTENT)
    return answer.status, answer.code


@pytest.mark.parametrize("mode", ["kms", "esdk", "hpke"])
def test_a_request_that_cannot_be_opened_and_one_that_was_are_refused_alike(
    sealing: House, stage: Backstage, mode: str
) -> None:
    once = stage.seal(sealing, mode, CHAT)
    assert sealing.call("POST", "/invocations", once.body, CONTENT).status == 200
    again = sealing.call("POST", "/invocations", once.body, CONTENT)
    length = 2 + int.from_bytes(once.body[:2])
    blob = bytearray(once.body[length:])
    blob[-1] ^= 1
    claims = {"mode": mode, "pool": POOL, "operation": "chat.completions", "surface": "openai"}
    claims["key_arn"] = "" if mode == "hpke" else stage.key_arn
    changed = sealing.call("POST", "/invocations", stage.permitted(bytes(blob), **claims), CONTENT)
    assert (again.status, again.code, again.body) == (401, "not_opened", changed.body)
    assert changed.status == 401


def test_a_ticket_that_was_changed_opens_nothing(sealing: House, stage: Backstage) -> None:
    body = stage.seal(sealing, "hpke", CHAT, ceiling_tokens=64).body
    assert refused(sealing, body.replace(b'"ceiling_tokens":64', b'"ceiling_tokens":99')) == (401, "not_opened")


@pytest.mark.parametrize("body", [b"", b"\x00", b"\xff\xff{}", b"\x00\x50" + bytes(80), b"{}"], ids=repr)
def test_what_has_no_ticket_is_malformed(sealing: House, body: bytes) -> None:
    assert refused(sealing, body) == (400, "invalid_request")


def test_a_ticket_is_for_one_operation(sealing: House, stage: Backstage) -> None:
    body = stage.seal(sealing, "hpke", CHAT).body
    assert refused(sealing, body, "/v1/embeddings") == (400, "invalid_request")


@pytest.mark.parametrize(
    ("request_", "claims"),
    [
        (STREAM, {"stream": False}),
        (CHAT, {"stream": True}),
        (CHAT | {"n": 2}, {}),
        (CHAT | {"max_tokens": -1}, {}),
        (b"xyzzy", {}),
        (CHAT | {"script": {"status": 422}}, {}),
        (CHAT | {"script": "xyzzy"}, {}),
    ],
    ids=str,
)
def test_a_bad_request_is_400_without_its_words_and_leaves_nothing_open(
    sealing: House, stage: Backstage, request_: Any, claims: dict[str, Any]
) -> None:
    answer = sealing.call("POST", "/invocations", stage.seal(sealing, "hpke", request_, **claims).body, CONTENT)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert b"xyzzy" not in answer.body
    assert b"scripted" not in answer.body, "the engine's own words may quote the request"
    assert sealing.call("POST", "/invocations", stage.seal(sealing, "hpke", CHAT).body, CONTENT).status == 200


def test_an_answer_that_a_mode_cannot_carry_is_413(sealing: House, stage: Backstage) -> None:
    long = CHAT | {"script": {"tokens": 2000}}
    assert refused(sealing, stage.seal(sealing, "kms", long).body) == (413, "answer_too_large")
    assert sealing.call("POST", "/invocations", stage.seal(sealing, "hpke", long).body, CONTENT).status == 200


def test_a_request_that_is_too_large_is_413(sealing: House, stage: Backstage) -> None:
    claims = {"mode": "kms", "key_arn": stage.key_arn, "operation": "chat.completions", "surface": "openai"}
    assert refused(sealing, stage.permitted(bytes(6145), **claims)) == (413, "request_too_large")
    assert refused(sealing, stage.permitted(bytes(6 * 2**20), **claims)) == (413, "request_too_large")


def test_a_model_that_breaks_off_ends_a_sealed_stream_with_a_refusal(sealing: House, stage: Backstage) -> None:
    broken = stage.seal(sealing, "hpke", STREAM | {"script": {"break_at": 2}}, stream=True)
    told = Frames(sealing.call("POST", "/invocations", broken.body, CONTENT).body)
    assert told.kinds == [STARTED, PIECE, PIECE, REFUSED]
    assert (told.told(REFUSED)["status"], told.told(REFUSED)["code"]) == (502, "engine_failed")


# The line


def test_who_waits_with_a_sealed_stream_is_told_and_is_not_opened_before_its_turn(
    house: Open, stage: Backstage
) -> None:
    gate = Gatekeeper()
    h = house(gate, capacity=1, enclave=stage.settings())
    running = h.open("POST", "/invocations", STREAM)
    sealed = stage.seal(h, "hpke", STREAM, stream=True)
    impatient = h.open("POST", "/invocations", sealed.body, CONTENT)
    kind, place = next(frames(impatient))
    assert kind == WAITING
    assert json.loads(place)["queue_position"] == 1
    impatient.close()
    until(lambda: h.ping()["queue_depth"] == 0)
    gate.let(5)
    assert running.read()
    gate.let(5)
    told = Frames(h.call("POST", "/invocations", sealed.body, CONTENT).body)
    assert words(sealed.opened(told.sealed)) == WORDS, "who left the line may come again: nothing had been opened"


# As it ships


@pytest.fixture(scope="module")
def shipped(stage: Backstage) -> Any:
    with process("--model", f"demo={DEMO}", "--capacity", "2", *stage.flags()) as each:
        yield each.ready()


QUESTION = {"messages": [{"role": "user", "content": "What is Cloister?"}], "temperature": 0, "max_tokens": 24}


def test_llamacpp_answers_sealed_what_it_answers_in_the_clear(shipped: Process, stage: Backstage) -> None:
    clear = shipped.call("POST", "/invocations", QUESTION).json["choices"][0]["message"]["content"]
    for mode in ("kms", "esdk", "hpke"):
        sealed = stage.seal(shipped, mode, QUESTION)
        told = Frames(shipped.call("POST", "/invocations", sealed.body, CONTENT).body)
        assert json.loads(sealed.opened(told.sealed))["choices"][0]["message"]["content"] == clear
    for mode in ("esdk", "hpke"):
        sealed = stage.seal(shipped, mode, QUESTION | {"stream": True}, stream=True)
        told = Frames(shipped.call("POST", "/invocations", sealed.body, CONTENT).body)
        assert words(sealed.opened(told.sealed)) == clear
        assert told.told(FINISHED)["completion_tokens"] == 24


def test_llamacpp_generates_no_more_than_the_ticket_permits(shipped: Process, stage: Backstage) -> None:
    greedy = QUESTION | {"max_tokens": 900, "n_predict": 900, "ignore_eos": True}
    sealed = stage.seal(shipped, "hpke", greedy, ceiling_tokens=7)
    told = Frames(shipped.call("POST", "/invocations", sealed.body, CONTENT).body)
    assert told.told(FINISHED)["completion_tokens"] == 7


def test_the_journal_says_how_a_call_was_sealed_and_nothing_else_of_it(stage: Backstage) -> None:
    each = Process("--model", f"demo={DEMO}", *stage.flags()).ready()
    for request in (QUESTION | {"user": "xyzzy"}, QUESTION | {"messages": "xyzzy"}):
        each.call("POST", "/invocations", stage.seal(each, "esdk", request).body, CONTENT)
    code, journal, complaint = each.finish()
    lines = [line for line in journal if line["event"] == "request"]
    assert [(line["status"], line["sealed"], line["stream"]) for line in lines] == [
        (200, "esdk", False),
        (400, "esdk", False),
    ]
    assert (code, complaint) == (0, "")
    assert not [word for word in ("xyzzy", "Cloister", TENANT, POOL) if word in json.dumps(journal)]
