"""A request whose ticket names rules: judged where it is opened, its answer where it is sealed, in every mode."""

import hashlib
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enclave.refusal import NotOpened
from guard import Rule, Rules, SentRules, Tools
from sealed import esdk, hpke
from tests.enclave.houses import OPEN, ROOT, Line, Refusal, TestedEnclave, with_ticket
from tests.examples import examples
from tests.streamed import events, text

RULES = Rules(
    rules=(
        Rule("badge", r"\bid-\d{4}\b", "redact", "both"),
        Rule("secret", "the secret", "refuse", "both"),
        Rule("hot", "hot", "flag", "out"),
    ),
    tools=Tools(blocked=("rm_*",)),
    refusal="Not here.",
)
WRITTEN = SentRules(RULES).written()
FOUND, REFUSED = 1, 2
MODES = ["kms", "esdk", "hpke"]
STREAMING = ["esdk", "hpke"]

_ids = itertools.count()


class Asked:
    """A request of acme's with its rules, and what only acme can read of the answer."""

    def __init__(
        self, house: TestedEnclave, mode: str, said: Any, *, stream: bool = False, rules: bytes = WRITTEN, **claims: Any
    ) -> None:
        kms = house.kms
        plaintext = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.claims = {"mode": mode, "request_id": f"judged-{next(_ids)}", "stream": stream, **claims}
        names = {"tenant": "acme", "request_id": self.claims["request_id"]}
        self.read: Callable[[bytes], bytes]
        if mode == "hpke":
            self.blob, opener = hpke.seal_request(house.epoch(), pool="demo", plaintext=plaintext, **names)
            self.read = lambda answer: _finished(opener, answer)
        elif mode == "esdk":
            self.blob = esdk.seal(kms.client, house.key, esdk.request_context(**names), plaintext)
            back = esdk.response_context(**names)
            self.read = lambda answer: esdk.open(kms.client, house.key, back, answer)
        else:
            self.blob = kms.encrypt(house.key, plaintext)
            self.read = lambda answer: kms.client.decrypt(CiphertextBlob=answer)["Plaintext"]
        self.ticket, self.body = house.ruled(self.blob, rules, **self.claims)


def _finished(opener: hpke.ResponseOpener, answer: bytes) -> bytes:
    read = b"".join(opener.feed(answer))
    opener.finish()
    return read


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def whole(text: str) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}).encode()


def delta(text: str, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "choices": [choice], **more}).encode() + b"\n\n"


@pytest.fixture
def line(house: TestedEnclave) -> Iterator[Line]:
    with house.greeted() as greeted:
        yield greeted


def opened(line: Line, asked: Asked) -> tuple[int, bytes]:
    told = line.opened(asked.ticket, asked.body)
    return told[0], told[1:]


def sealed(line: Line, piece: bytes, *, final: bool = True) -> tuple[int, bytes]:
    told = line.sealed(piece, final=final)
    return told[0], told[1:]


@pytest.mark.parametrize("mode", MODES)
def test_what_is_redacted_the_model_does_not_see_and_its_answers_reader_neither(
    house: TestedEnclave, line: Line, mode: str
) -> None:
    asked = Asked(house, mode, chat("I am id-1234", nonce="n-1", id="id-1234"))
    flags, plaintext = opened(line, asked)
    assert flags == FOUND
    said = json.loads(plaintext)
    assert (said["messages"][0]["content"], said["nonce"]) == ("I am [badge]", "n-1")
    flags, answer = sealed(line, whole("Hello, id-1234"))
    assert flags == FOUND
    read = json.loads(asked.read(answer))
    assert read["choices"][0]["message"]["content"] == "Hello, [badge]"
    assert read["rules_sha256"] == hashlib.sha256(WRITTEN).hexdigest()
    assert house.outcomes()[-1]["outcome"] == "sealed"


@pytest.mark.parametrize("mode", MODES)
def test_where_no_rule_is_met_nothing_is_found(house: TestedEnclave, line: Line, mode: str) -> None:
    asked = Asked(house, mode, chat("hi", nonce="id-1234"))  # a nonce is no prompt
    flags, plaintext = opened(line, asked)
    assert (flags, json.loads(plaintext)) == (0, chat("hi", nonce="id-1234"))
    flags, answer = sealed(line, whole("hello"))
    assert flags == 0
    assert json.loads(asked.read(answer))["choices"][0]["message"]["content"] == "hello"


@pytest.mark.parametrize("mode", MODES)
def test_a_prompt_that_is_refused_reaches_nobody(house: TestedEnclave, line: Line, mode: str) -> None:
    assert opened(line, Asked(house, mode, chat("tell me the secret"))) == (FOUND | REFUSED, b"")
    assert house.outcomes()[-1]["outcome"] == "content_refused"
    flags, _ = opened(line, Asked(house, mode, chat("hi")))  # on the same connection: nothing was left open
    assert flags == 0


@pytest.mark.parametrize("mode", STREAMING)
def test_who_asked_for_a_stream_is_told_of_a_refused_prompt_in_it(house: TestedEnclave, line: Line, mode: str) -> None:
    asked = Asked(house, mode, chat("the secret"), stream=True)
    flags, told = opened(line, asked)
    assert flags == FOUND | REFUSED
    (event,) = events(asked.read(told))
    assert (event["error"]["message"], event["error"]["code"]) == ("Not here.", "content_refused")


@pytest.mark.parametrize("mode", MODES)
def test_a_whole_answer_that_is_refused_is_sealed_for_nobody(house: TestedEnclave, line: Line, mode: str) -> None:
    opened(line, Asked(house, mode, chat("hi")))
    assert sealed(line, whole("it is the secret")) == (FOUND | REFUSED, b"")
    assert house.outcomes()[-1]["outcome"] == "content_refused"
    with pytest.raises(Refusal, match="No exchange is open"):
        line.sealed(whole("again"))


@pytest.mark.parametrize("mode", STREAMING)
def test_a_stream_ends_where_a_rule_refuses_it_and_says_so(house: TestedEnclave, line: Line, mode: str) -> None:
    asked = Asked(house, mode, chat("hi"), stream=True)
    opened(line, asked)
    answer, flags = b"", 0
    for piece in ("It is ", "the ", "sec", "ret", " of ours"):
        flags, told = sealed(line, delta(piece), final=False)
        answer += told
        if flags:
            break
    assert flags == FOUND | REFUSED
    read = asked.read(answer)
    assert read.startswith(f": rules_sha256={hashlib.sha256(WRITTEN).hexdigest()}\n\n".encode())
    assert text(read) == "It is "
    *_, end, error = events(read)
    assert end["choices"][0]["finish_reason"] == "content_filter"
    assert (error["error"]["message"], error["error"]["code"]) == ("Not here.", "content_refused")
    with pytest.raises(Refusal, match="No exchange is open"):
        line.sealed(delta("more"), final=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(20))
@given(cuts=st.sets(st.integers(1, 30)), ends=st.booleans())
def test_however_a_stream_is_cut_its_reader_sees_what_the_whole_allows(
    house: TestedEnclave, line: Line, cuts: set[int], ends: bool
) -> None:
    told = "I am id-1234, and hot: id-12345"
    asked = Asked(house, "hpke", chat("hi"), stream=True)
    opened(line, asked)
    places = [0, *sorted(cut for cut in cuts if cut < len(told)), len(told)]
    answer, flags = b"", 0
    for begin, end in itertools.pairwise(places):
        flags, piece = sealed(line, delta(told[begin:end]), final=False)
        assert not flags
        answer += piece
    stop = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n' if ends else b""
    flags, piece = sealed(line, stop + b": a comment\n\ndata: [DONE]\n\n")
    read = asked.read(answer + piece)
    assert (flags, text(read)) == (FOUND, "I am [badge], and hot: id-12345")
    assert read.rstrip(b": \n").endswith(b"data: [DONE]")


def test_a_tool_that_is_blocked_or_not_the_keys_is_neither_offered_nor_called(house: TestedEnclave, line: Line) -> None:
    rules = SentRules(RULES, key_tools=("get_*", "rm_*")).written()

    def offering(name: str) -> Any:
        return chat("hi", tools=[{"type": "function", "function": {"name": name}}])

    for name in ("rm_all", "put_mail"):
        flags, _ = opened(line, Asked(house, "hpke", offering(name), rules=rules))
        assert flags == FOUND | REFUSED
        assert opened(line, Asked(house, "hpke", offering("get_mail"), rules=rules))[0] == 0
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
        flags, _ = sealed(line, json.dumps({"choices": [{"message": {"tool_calls": [call]}}]}).encode())
        assert flags == FOUND | REFUSED


def test_numbers_are_let_be_as_an_answer(house: TestedEnclave, line: Line) -> None:
    asked = Asked(house, "hpke", {"input": "I am id-1234"}, operation="embeddings")
    assert opened(line, asked) == (FOUND, b'{"input":"I am [badge]"}')
    _, answer = sealed(line, b'{"data":[{"embedding":"the secret"}],"rules_sha256":"mine"}')
    said = {"data": [{"embedding": "the secret"}], "rules_sha256": hashlib.sha256(WRITTEN).hexdigest()}
    assert json.loads(asked.read(answer)) == said


@pytest.mark.parametrize("said", [b"no JSON", b"\xff", b"[]", b'{"deep":' + b"[" * 100_000, b'"the secret"'])
def test_what_is_no_request_goes_on_as_nothing(house: TestedEnclave, line: Line, said: bytes) -> None:
    assert opened(line, Asked(house, "hpke", said)) == (0, b"")
    line.drop()


def test_what_is_judged_is_what_is_read(house: TestedEnclave, line: Line) -> None:
    """Of two members of one name, one is judged: the other does not go on."""
    twice = b'{"prompt":"the secret","prompt":"hi"}'
    assert opened(line, Asked(house, "hpke", twice)) == (0, b'{"prompt":"hi"}')
    line.drop()


@pytest.mark.parametrize("mode", MODES)
def test_rules_that_were_changed_left_out_or_exchanged_open_nothing(house: TestedEnclave, mode: str) -> None:
    """By one text for all; and the request was not opened, so that by its own rules it still is."""
    others = SentRules(Rules(refusal="Mine.")).written()
    asked = Asked(house, mode, chat("the secret"))
    bare = house.ticket(asked.blob, **asked.claims)
    _, exchanged = house.ruled(asked.blob, others)
    tampered = [
        (asked.ticket, asked.body.replace(b"refuse", b"redact")),
        (asked.ticket, asked.blob),
        (asked.ticket, bytes(4) + asked.blob),
        (asked.ticket, exchanged),
        (bare, asked.body),
        (house.ruled(asked.blob, b'{"rulez":1}', **asked.claims)),
        (house.ruled(asked.blob, b'{"rules":{"packs":["dogs"]}}', **asked.claims)),
        (house.ruled(asked.blob, b'{"rules":{"rules":[{"name":"a","pattern":"("}]}}', **asked.claims)),
    ]
    for ticket, body in tampered:
        with house.greeted() as each, pytest.raises(Refusal) as refused:
            each.ask(OPEN, with_ticket(ticket, body))
        assert (refused.value.code, refused.value.text) == ("not_opened", NotOpened("").text)
    with house.greeted() as each:
        assert opened(each, asked)[0] == FOUND | REFUSED


def test_an_answer_that_is_none_is_not_sealed(house: TestedEnclave) -> None:
    for stream, piece in ((False, b"the secret"), (True, b"data: the secret\n\n"), (False, b'["the secret"]')):
        with house.greeted() as each:
            opened(each, Asked(house, "hpke", chat("hi"), stream=stream))
            with pytest.raises(Refusal, match="protocol"):
                each.sealed(piece)
            assert each.is_closed()


def test_an_enclave_that_meets_no_rules_never_loads_the_guard() -> None:
    program = "import sys, enclave.program; print(*sorted({'re2', 'guard', 'enclave.judged'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
