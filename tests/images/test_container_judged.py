"""Sealed calls of a tenant with rules, through the container and the enclave's own program: who learns what of them."""

import json
from typing import Any

import pytest

from guard import Rule, Rules, SentRules
from tests.images.conftest import Open
from tests.images.enclaves import CONTENT, FINISHED, PIECE, REFUSED, STARTED, WAITING, Backstage, Frames, frames
from tests.images.houses import Gatekeeper, House
from tests.streamed import events, text

RULES = SentRules(
    Rules(
        rules=(
            Rule("badge", r"\bid-\d{4}\b", "redact", "in"),
            Rule("two", r"w2 ", "redact", "out"),
            Rule("secret", "the secret", "refuse", "in"),
            Rule("four", "boom!", "refuse", "out"),
        ),
        refusal="Not here.",
    )
).written()
MODES = ["kms", "esdk", "hpke"]
STREAMING = ["esdk", "hpke"]


@pytest.fixture
def sealing(house: Open, stage: Backstage) -> House:
    return house(enclave=stage.settings())


def chat(text: str = "hi", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def saying(*words: str, **more: Any) -> dict[str, Any]:
    """What the model says is a part of the request: it shows what the model was asked."""
    return chat(script={"words": words}, **more)


@pytest.mark.parametrize("mode", MODES)
def test_prompt_and_answer_are_judged_and_the_gateway_learns_that_something_was_found(
    sealing: House, stage: Backstage, mode: str
) -> None:
    sealed = stage.seal(sealing, mode, saying("I am id-1234 ", "w2 ", "too"), rules=RULES)
    told = Frames(sealing.call("POST", "/invocations", sealed.body, CONTENT).body)
    content = json.loads(sealed.opened(told.sealed))["choices"][0]["message"]["content"]
    assert content == "I am [badge] [two]too"
    assert told.told(FINISHED) == {"prompt_tokens": 1, "completion_tokens": 3, "found": True}
    sealed = stage.seal(sealing, mode, saying("hi"), rules=RULES)
    told = Frames(sealing.call("POST", "/invocations", sealed.body, CONTENT).body)
    assert told.told(FINISHED) == {"prompt_tokens": 1, "completion_tokens": 1}


@pytest.mark.parametrize("mode", MODES)
def test_a_prompt_that_is_refused_reaches_no_model(sealing: House, stage: Backstage, mode: str) -> None:
    engine = sealing.launcher.engines["one"]
    stream = mode != "kms"
    sealed = stage.seal(sealing, mode, chat("the secret", stream=stream), rules=RULES, stream=stream)
    answer = sealing.call("POST", "/invocations", sealed.body, CONTENT)
    assert (answer.status, answer.code) == (400, "content_refused")
    assert b"secret" not in answer.body
    assert (engine.running, engine.stopped) == (0, 0)


@pytest.mark.parametrize("mode", MODES)
def test_a_whole_answer_that_is_refused_is_counted_and_goes_to_nobody(
    sealing: House, stage: Backstage, mode: str
) -> None:
    sealed = stage.seal(sealing, mode, saying("so: ", "boom!"), rules=RULES)
    told = Frames(sealing.call("POST", "/invocations", sealed.body, CONTENT).body)
    assert told.kinds == [STARTED, REFUSED]
    refused = told.told(REFUSED)
    assert (refused["status"], refused["code"]) == (400, "content_refused")
    assert (refused["prompt_tokens"], refused["completion_tokens"]) == (1, 2)


@pytest.mark.parametrize("mode", STREAMING)
def test_a_stream_that_is_refused_stops_its_model(house: Open, stage: Backstage, mode: str) -> None:
    gate = Gatekeeper()
    h = house(gate, enclave=stage.settings())
    gate.let(4)  # the model would have a fifth to say, and never may
    request = saying("so: ", "w2 ", "boo", "m!", "never", stream=True)
    sealed = stage.seal(h, mode, request, rules=RULES, stream=True)
    told = Frames(h.call("POST", "/invocations", sealed.body, CONTENT).body)
    assert told.kinds == [STARTED, PIECE, PIECE, PIECE, PIECE, REFUSED]
    assert told.tokens == [1, 1, 1, 1]
    assert set(told.told(REFUSED)) == {"status", "code", "message"}, "the engine has not counted yet"
    read = sealed.opened(told.sealed)
    assert text(read) == "so: [two]"
    *_, end, error = events(read)
    assert end["choices"][0]["finish_reason"] == "content_filter"
    assert error["error"]["message"] == "Not here."
    assert (h.launcher.engines["one"].running, h.launcher.engines["one"].stopped) == (0, 1)


def test_who_waited_with_a_stream_is_told_inside_it_and_is_charged_nothing(house: Open, stage: Backstage) -> None:
    gate = Gatekeeper()
    h = house(gate, capacity=1, enclave=stage.settings())
    running = h.open("POST", "/invocations", chat(stream=True))
    sealed = stage.seal(h, "hpke", chat("the secret", stream=True), rules=RULES, stream=True)
    waiting = h.open("POST", "/invocations", sealed.body, CONTENT)
    arriving = frames(waiting)
    assert next(arriving)[0] == WAITING
    gate.let(5)
    assert running.read()
    rest = [(kind, payload) for kind, payload in arriving if kind != WAITING]
    assert [kind for kind, _ in rest] == [PIECE, REFUSED]
    (event,) = events(sealed.opened(rest[0][1][2:]))
    assert (event["error"]["message"], event["error"]["code"]) == ("Not here.", "content_refused")
    refused = json.loads(rest[1][1])
    assert (refused["prompt_tokens"], refused["completion_tokens"]) == (0, 0)


def test_a_connection_serves_on_after_a_refusal(sealing: House, stage: Backstage) -> None:
    for _ in range(3):
        refused = stage.seal(sealing, "hpke", chat("the secret"), rules=RULES)
        assert sealing.call("POST", "/invocations", refused.body, CONTENT).status == 400
        fine = stage.seal(sealing, "hpke", chat(), rules=RULES)
        assert sealing.call("POST", "/invocations", fine.body, CONTENT).status == 200


@pytest.mark.parametrize("mode", MODES)
def test_rules_that_were_exchanged_on_the_way_open_nothing(sealing: House, stage: Backstage, mode: str) -> None:
    sealed = stage.seal(sealing, mode, chat("the secret"), rules=RULES)
    for body in (sealed.body.replace(b"the secret", b"the seceet"), sealed.body.replace(RULES, b"")):
        answer = sealing.call("POST", "/invocations", body, CONTENT)
        assert (answer.status, answer.code) == (401, "not_opened")
