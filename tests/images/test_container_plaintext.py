"""From an opened request to a call: whatever it asks for, it gets what its ticket permits. Pure."""

import json
from typing import Any

import msgspec
import pytest

from sealed.ticket import Claims
from serving.refusal import EngineFailed, Malformed
from serving.reply import Usage, without_usage
from serving.request import Attributes
from serving.sealing.plaintext import PermittedCall, native_answer, permitted_call

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
PERMITTED = Claims("run", "acme", "hpke", "", "r-1", "pool-a", "chat.completions", "openai", False, 50, "", 0)


def open_(request: dict[str, Any], op: str = "chat.completions", **claims: Any) -> PermittedCall:
    permitted = msgspec.structs.replace(PERMITTED, operation=op, **claims)
    return permitted_call(json.dumps(request).encode(), permitted, Attributes(op=op), "one")


def body(request: dict[str, Any], op: str = "chat.completions", **claims: Any) -> Any:
    return json.loads(open_(request, op, **claims).call.body({}))


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ({}, 50),
        ({"max_tokens": 7}, 7),
        ({"max_tokens": 51}, 50),
        ({"max_completion_tokens": 9, "max_tokens": 40}, 9),
        ({"max_tokens": None}, 50),
        ({"n_predict": 9_999, "max_new_tokens": 9_999, "n_cmpl": 3}, 50),
    ],
)
def test_no_more_is_generated_than_was_reserved(asked: dict[str, Any], granted: int) -> None:
    assert body(CHAT | asked) == CHAT | {"model": "one", "max_tokens": granted}


@pytest.mark.parametrize(
    "more", [{"n": 2}, {"best_of": 2}, {"n": 0}, {"max_tokens": -1}, {"max_tokens": 0}, {"max_tokens": "9"}], ids=str
)
def test_what_was_not_reserved_is_refused_without_a_word_of_the_request(more: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as refused:
        open_({"messages": [{"role": "user", "content": "xyzzy"}], **more})
    assert "xyzzy" not in refused.value.message


@pytest.mark.parametrize("prompt", [["a", "b"], [[1, 2], [3]]])
def test_one_prompt_is_admitted_at_a_time(prompt: list[Any]) -> None:
    with pytest.raises(Malformed):
        open_({"prompt": prompt}, "completions")
    for single in ("a", [1, 2, 3], ["a"]):
        assert body({"prompt": single}, "completions")["prompt"] == single


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_is_a_stream_exactly_when_it_was_admitted_as_one(stream: bool) -> None:
    with pytest.raises(Malformed):
        open_(CHAT | {"stream": not stream}, stream=stream)
    assert open_(CHAT | {"stream": stream}, stream=stream).call.stream is stream


def test_a_stream_always_counts_and_says_so_only_to_who_asked() -> None:
    for asked in (True, False):
        request = open_(CHAT | {"stream": True, "stream_options": {"include_usage": asked}}, stream=True)
        assert json.loads(request.call.body({}))["stream_options"] == {"include_usage": True}
        assert request.wants_usage is asked


def test_an_embedding_has_no_ceiling_and_keeps_its_fields() -> None:
    request = {"input": ["a", "b"], "dimensions": 8, "nonce": "n"}
    assert body(request, "embeddings", ceiling_tokens=0) == {"input": ["a", "b"], "dimensions": 8, "model": "one"}


def test_a_native_prompt_becomes_a_message_and_unknown_fields_pass() -> None:
    request = {"prompt": "hi", "temperature": 0.5, "nonce": "n", "model": "another"}
    assert body(request, surface="native") == CHAT | {"temperature": 0.5, "model": "one", "max_tokens": 50}
    assert body(CHAT, surface="native") == CHAT | {"model": "one", "max_tokens": 50}


@pytest.mark.parametrize("request_", [{}, {"prompt": "a", **CHAT}], ids=str)
def test_a_native_request_says_what_it_is_about_once(request_: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        open_(request_, surface="native")


@pytest.mark.parametrize("plaintext", [b"", b"[]", b"\xff", b'{"stream":', b"[" * 5000], ids=repr)
def test_what_is_no_request_is_malformed(plaintext: bytes) -> None:
    with pytest.raises(Malformed):
        permitted_call(plaintext, PERMITTED, Attributes(), "one")


def test_a_native_answer_has_text_reason_usage_pool_and_request() -> None:
    chat = {"choices": [{"message": {"role": "assistant", "content": "é"}, "finish_reason": "length"}]}
    assert json.loads(native_answer(json.dumps(chat).encode(), Usage(3, 4, 7), PERMITTED)) == {
        "text": "é",
        "finish_reason": "length",
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        "model": "pool-a",
        "request_id": "r-1",
    }
    with pytest.raises(EngineFailed):
        native_answer(b'{"choices": 7}', Usage(), PERMITTED)


def test_only_the_event_that_merely_counts_is_taken_out() -> None:
    token = b'data: {"choices":[{"delta":{"content":"\\"usage\\": {"}}],"usage":null}\n\n'
    last = b'data: {"choices":[{"delta":{}}],"usage":{"completion_tokens":1}}\n\n'
    count = b'data: {"choices":[],"usage":{"completion_tokens":1}}\n\n'
    rest = b': "usage": a comment\n\ndata: [DONE]\n\n'
    assert without_usage(token + last + count + rest) == token + last + rest
