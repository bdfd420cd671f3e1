"""In mode kms an answer says to which request it is one."""

import hashlib
import json

import msgspec
import pytest

from sealed import kms_mode
from sealed.refusal import NotOpened, TooLong

BLOB = b"what kms.encrypt made"
ANSWER = b'{"text":"Hello","usage":{"total_tokens":3},"model":"demo","request_id":"r-1"}'


def test_the_echo_is_the_last_member_and_nothing_else_changes() -> None:
    echoed = kms_mode.with_echo(ANSWER, nonce="n-1", blob=BLOB)
    echo = b',"echo":{"nonce":"n-1","request_sha256":"' + hashlib.sha256(BLOB).hexdigest().encode() + b'"}}'
    assert echoed == ANSWER[:-1] + echo


@pytest.mark.parametrize("nonce", ["n-1", "", 'quo"te', None])
def test_an_answer_to_this_request_passes_unchanged(nonce: str | None) -> None:
    echoed = kms_mode.with_echo(ANSWER, nonce=nonce, blob=BLOB)
    assert kms_mode.checked(echoed, nonce=nonce, blob=BLOB) == echoed


@pytest.mark.parametrize(
    ("nonce", "blob"), [("n-2", BLOB), (None, BLOB), ("", BLOB), ("n-1", BLOB + b"."), ("n-1", b"")]
)
def test_an_answer_to_another_request_is_refused(nonce: str | None, blob: bytes) -> None:
    echoed = kms_mode.with_echo(ANSWER, nonce="n-1", blob=BLOB)
    with pytest.raises(NotOpened):
        kms_mode.checked(echoed, nonce=nonce, blob=blob)


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        b"",
        b"null",
        b"\xff",
        b'{"echo":null}',
        b'{"echo":{"nonce":"n-1"}}',
        b'{"echo":{"nonce":1}}',
        b"[" * 9999,
        b'{"deep":' + b"[" * 4000,
    ],
)
def test_an_answer_without_its_echo_is_refused(answer: bytes) -> None:
    with pytest.raises(NotOpened):
        kms_mode.checked(answer, nonce="n-1", blob=BLOB)


def test_an_answer_is_told_from_a_request() -> None:
    assert kms_mode.is_answer(kms_mode.with_echo(ANSWER, nonce=None, blob=BLOB))
    for request in (
        b'{"prompt":"hi","nonce":"n-1"}',
        b'{"echo":"hi","prompt":"hi"}',
        b"hi",
        b"\xff",
        b'{"deep":' + b"[" * 4000,
    ):
        assert not kms_mode.is_answer(request)


def test_an_echo_that_the_model_wrote_is_overwritten() -> None:
    forged = json.dumps({"echo": {"nonce": "mine", "request_sha256": "00"}, "text": "x"}).encode()
    echoed = kms_mode.with_echo(forged, nonce="n-1", blob=BLOB)
    assert msgspec.json.decode(echoed)["echo"]["nonce"] == "n-1"


def test_an_answer_that_kms_cannot_encrypt_is_refused_and_one_byte_less_is_not() -> None:
    room = kms_mode.MOST_PLAINTEXT_BYTES - len(kms_mode.with_echo(b'{"text":""}', nonce="n", blob=BLOB))
    longest = kms_mode.with_echo(b'{"text":"%s"}' % (b"x" * room), nonce="n", blob=BLOB)
    assert len(longest) == kms_mode.MOST_PLAINTEXT_BYTES
    with pytest.raises(TooLong, match="esdk or hpke"):
        kms_mode.with_echo(b'{"text":"%s"}' % (b"x" * (room + 1)), nonce="n", blob=BLOB)


def test_each_blob_has_a_replay_key_of_its_own() -> None:
    assert kms_mode.replay_key(BLOB) != kms_mode.replay_key(BLOB + b".")
