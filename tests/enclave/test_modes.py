"""Every mode, opened and sealed through the channel, as client, container and KMS see it."""

import itertools
import json
from typing import Any

import pytest

from sealed import esdk, hpke, kms_mode
from sealed.refusal import BrokenOff
from tests.enclave.houses import Kms, Refusal, TestedEnclave

ASKED = b'{"prompt":"hello","nonce":"n-1"}'
ANSWERED = b'{"text":"world"}'
EVENTS = [f"data: piece {number}\n\n".encode() for number in range(5)]

_ids = itertools.count()


def new_id() -> str:
    return f"request-{next(_ids)}"


@pytest.fixture(scope="module")
def epoch(house: TestedEnclave) -> hpke.KeyConfiguration:
    return house.epoch()


def test_a_kms_request_is_opened_and_its_answer_echoes_it(house: TestedEnclave, kms: Kms) -> None:
    blob = kms.encrypt(house.key, ASKED)
    with house.greeted() as line:
        assert line.opened(house.ticket(blob, mode="kms"), blob) == ASKED
        answer = line.sealed(ANSWERED)
    opened = kms.client.decrypt(CiphertextBlob=answer)
    assert opened["KeyId"] == house.key
    assert json.loads(kms_mode.checked(opened["Plaintext"], nonce="n-1", blob=blob))["text"] == "world"


@pytest.mark.parametrize("asked", [b"no JSON", b"\xff", b'{"nonce":1}', b'{"deep":' + b"[" * 4000])
def test_a_kms_request_that_is_none_has_no_nonce_and_breaks_nothing(
    house: TestedEnclave, kms: Kms, asked: bytes
) -> None:
    blob = kms.encrypt(house.key, asked)
    with house.greeted() as line:
        assert line.opened(house.ticket(blob, mode="kms"), blob) == asked
        answer = kms.client.decrypt(CiphertextBlob=line.sealed(ANSWERED))["Plaintext"]
    assert json.loads(answer)["echo"]["nonce"] is None


@pytest.mark.parametrize("hybrid", [True, False])
def test_an_hpke_request_is_opened_and_its_answer_sealed(
    house: TestedEnclave, epoch: hpke.KeyConfiguration, hybrid: bool
) -> None:
    request_id = new_id()
    blob, opener = hpke.seal_request(
        epoch, tenant="acme", request_id=request_id, pool="demo", plaintext=ASKED, hybrid=hybrid
    )
    with house.greeted() as line:
        assert line.opened(house.ticket(blob, request_id=request_id), blob) == ASKED
        answer = line.sealed(ANSWERED)
    assert b"".join(opener.feed(answer)) == ANSWERED
    opener.finish()


def test_an_esdk_request_is_opened_and_its_answer_sealed_under_the_same_key(house: TestedEnclave, kms: Kms) -> None:
    request_id = new_id()
    request = esdk.request_context(tenant="acme", request_id=request_id)
    response = esdk.response_context(tenant="acme", request_id=request_id)
    blob = esdk.seal(kms.client, house.key, request, ASKED)
    with house.greeted() as line:
        assert line.opened(house.ticket(blob, mode="esdk", request_id=request_id), blob) == ASKED
        answer = line.sealed(ANSWERED)
    assert esdk.open(kms.client, house.key, response, answer) == ANSWERED


def test_an_hpke_stream_is_sealed_piece_by_piece_and_its_lengths_tell_nothing(
    house: TestedEnclave, epoch: hpke.KeyConfiguration
) -> None:
    request_id = new_id()
    blob, opener = hpke.seal_request(epoch, tenant="acme", request_id=request_id, pool="demo", plaintext=ASKED)
    with house.greeted() as line:
        line.opened(house.ticket(blob, request_id=request_id, stream=True), blob)
        sealed = [line.sealed(event, final=False) for event in EVENTS]
        opened = [b"".join(opener.feed(piece)) for piece in sealed]
        with pytest.raises(BrokenOff):
            opener.finish()
        assert not b"".join(opener.feed(line.sealed(b"")))
    opener.finish()
    assert [piece.partition(b"\n\n")[0] + b"\n\n" for piece in opened] == EVENTS
    assert {len(piece) for piece in opened} == {256}


def test_an_esdk_stream_gives_each_piece_as_soon_as_it_is_sealed(house: TestedEnclave, kms: Kms) -> None:
    request_id = new_id()
    blob = esdk.seal(kms.client, house.key, esdk.request_context(tenant="acme", request_id=request_id), ASKED)
    with house.greeted() as line:
        line.opened(house.ticket(blob, mode="esdk", request_id=request_id, stream=True), blob)
        sealed = [line.sealed(event, final=False) for event in EVENTS]
        assert all(len(piece) >= 1024 for piece in sealed)
        whole = b"".join(sealed) + line.sealed(b"")
    response = esdk.response_context(tenant="acme", request_id=request_id)
    opened = esdk.open(kms.client, house.key, response, whole)
    frames = [opened[at : at + 1024] for at in range(0, len(opened), 1024)]
    assert [frame.partition(b"\n\n")[0] + b"\n\n" for frame in frames] == EVENTS


@pytest.mark.parametrize("mode", ["kms", "esdk", "hpke"])
def test_how_many_calls_to_kms_an_exchange_costs(
    house: TestedEnclave, kms: Kms, epoch: hpke.KeyConfiguration, mode: str
) -> None:
    request_id = new_id()
    names: dict[str, Any] = {"tenant": "acme", "request_id": request_id}
    blob = {
        "kms": lambda: kms.encrypt(house.key, ASKED),
        "esdk": lambda: esdk.seal(kms.client, house.key, esdk.request_context(**names), ASKED),
        "hpke": lambda: hpke.seal_request(epoch, plaintext=ASKED, pool="demo", **names)[0],
    }[mode]()
    before = kms.calls()
    with house.greeted() as line:
        line.opened(house.ticket(blob, mode=mode, request_id=request_id), blob)
        line.sealed(ANSWERED)
    assert kms.calls() - before == {"kms": 2, "esdk": 2, "hpke": 0}[mode]


def test_an_answer_that_is_too_long_for_mode_kms_is_refused(house: TestedEnclave, kms: Kms) -> None:
    blob = kms.encrypt(house.key, ASKED)
    with house.greeted() as line:
        line.opened(house.ticket(blob, mode="kms"), blob)
        with pytest.raises(Refusal, match="answer_too_large"):
            line.sealed(json.dumps({"text": "x" * 4_096}).encode())
