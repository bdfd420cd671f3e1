"""What the enclave does not open, and that the caller never learns why."""

import hashlib
import itertools
import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enclave.refusal import NotOpened
from sealed import esdk, hpke, ticket
from tests.enclave.chosen_ids import message_with_id
from tests.enclave.houses import TICKET_KEY, Kms, Line, Refusal, TestedEnclave, enclave, now_ms
from tests.examples import examples

ASKED = b'{"prompt":"hello"}'
MODES = ["kms", "esdk", "hpke"]
UNIFORM = NotOpened("").text

_ids = itertools.count()


@pytest.fixture(scope="module")
def epoch(house: TestedEnclave) -> hpke.KeyConfiguration:
    return house.epoch("e-refused")


@pytest.fixture
def line(house: TestedEnclave) -> Any:
    with house.greeted() as greeted:
        yield greeted


class Request:
    """A request of acme's, sealed in one of the modes."""

    def __init__(self, house: TestedEnclave, kms: Kms, epoch: hpke.KeyConfiguration, mode: str) -> None:
        self.said: dict[str, Any] = {"mode": mode, "tenant": "acme", "request_id": f"refused-{next(_ids)}"}
        names = {"tenant": "acme", "request_id": self.said["request_id"]}
        match mode:
            case "kms":
                self.blob = kms.encrypt(house.key, ASKED)
            case "esdk":
                self.blob = esdk.seal(kms.client, house.key, esdk.request_context(**names), ASKED)
            case _:
                self.blob, _ = hpke.seal_request(epoch, pool="demo", plaintext=ASKED, **names)
        self.ticket = house.ticket(self.blob, **self.said)


@pytest.fixture(params=MODES)
def request_in(request: Any, house: TestedEnclave, kms: Kms, epoch: hpke.KeyConfiguration) -> Request:
    return Request(house, kms, epoch, request.param)


def is_not_opened(line: Line, signed: bytes, blob: bytes) -> bool:
    with pytest.raises(Refusal) as refused:
        line.opened(signed, blob)
    return (refused.value.code, refused.value.text) == ("not_opened", UNIFORM)


def test_a_replay_is_refused_in_each_mode(house: TestedEnclave, line: Line, request_in: Request) -> None:
    assert line.opened(request_in.ticket, request_in.blob) == ASKED
    line.drop()
    assert is_not_opened(line, request_in.ticket, request_in.blob)
    # Neither a new ticket nor another connection makes it new.
    with house.greeted() as other:
        assert is_not_opened(other, house.ticket(request_in.blob, **request_in.said), request_in.blob)


def test_whoever_chooses_a_message_id_uses_up_nobody_elses(house: TestedEnclave, kms: Kms, line: Line) -> None:
    """Not that of another tenant's message, seen on its way, and not the hash by which one in mode kms is known."""
    evil = {"mode": "esdk", "tenant": "evil", "key_arn": kms.key(), "request_id": "evil-1"}
    theirs = esdk.request_context(tenant="evil", request_id="evil-1")
    for mode in ("esdk", "kms"):
        request = Request(house, kms, house.epoch("e-ids"), mode)
        message_id = request.blob[3:35] if mode == "esdk" else hashlib.sha256(request.blob).digest()
        copy = message_with_id(kms.client, evil["key_arn"], theirs, ASKED, message_id)
        assert line.opened(house.ticket(copy, **evil), copy) == ASKED
        line.drop()
        assert is_not_opened(line, house.ticket(copy, **evil), copy)
        # Theirs is known by its key and id: sealed anew with another content, it is that message still.
        again = message_with_id(kms.client, evil["key_arn"], theirs, b"{}", message_id)
        assert is_not_opened(line, house.ticket(again, **evil), again)
        assert line.opened(request.ticket, request.blob) == ASKED
        line.drop()


def test_of_many_that_open_one_request_at_once_exactly_one_succeeds(house: TestedEnclave, request_in: Request) -> None:
    lines = [house.greeted() for _ in range(8)]
    outcomes: list[str] = []

    def attempt(line: Line) -> None:
        try:
            line.opened(request_in.ticket, request_in.blob)
            outcomes.append("opened")
        except Refusal as refused:
            outcomes.append(refused.code)

    threads = [threading.Thread(target=attempt, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for line in lines:
        line.tls.close()
    assert sorted(outcomes) == ["not_opened"] * 7 + ["opened"]


def test_another_tenants_ciphertext_is_refused(house: TestedEnclave, kms: Kms, line: Line, request_in: Request) -> None:
    """The ticket names whom the gateway authenticated, and the key that is registered to them."""
    theirs = {**request_in.said, "tenant": "evil", "key_arn": kms.key()}
    assert is_not_opened(line, house.ticket(request_in.blob, **theirs), request_in.blob)
    assert line.opened(request_in.ticket, request_in.blob) == ASKED


@pytest.mark.parametrize("mode", ["esdk", "hpke"])
@pytest.mark.parametrize("said", [{"tenant": "evil"}, {"request_id": "another"}])
def test_a_request_for_another_name_is_refused(
    house: TestedEnclave, kms: Kms, epoch: hpke.KeyConfiguration, line: Line, mode: str, said: dict[str, str]
) -> None:
    request = Request(house, kms, epoch, mode)
    assert is_not_opened(line, house.ticket(request.blob, **{**request.said, **said}), request.blob)


def test_a_request_for_another_pool_is_refused(
    house: TestedEnclave, kms: Kms, epoch: hpke.KeyConfiguration, line: Line
) -> None:
    request = Request(house, kms, epoch, "hpke")
    assert is_not_opened(line, house.ticket(request.blob, **request.said, pool="other"), request.blob)


@pytest.mark.parametrize("mode", ["kms", "esdk"])
@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-4000-8000-000000000000",
        "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000000",
        "arn:aws:kms:us-east-1:123456789012:alias/mine",
        "00000000-0000-4000-8000-000000000000",
        "",
    ],
    ids=["another region", "no such key", "alias", "key id", "none"],
)
def test_only_a_full_arn_of_a_key_in_an_allowed_region_opens(
    house: TestedEnclave, kms: Kms, epoch: hpke.KeyConfiguration, line: Line, mode: str, arn: str
) -> None:
    request = Request(house, kms, epoch, mode)
    assert is_not_opened(line, house.ticket(request.blob, **request.said, key_arn=arn), request.blob)


def test_a_ticket_for_another_request_is_refused(
    house: TestedEnclave, kms: Kms, epoch: hpke.KeyConfiguration, line: Line, request_in: Request
) -> None:
    other = Request(house, kms, epoch, request_in.said["mode"])
    assert is_not_opened(line, other.ticket, request_in.blob)


@pytest.mark.parametrize(
    "said",
    [
        {"expires_ms": 0},
        {"expires_ms": now_ms() - 1},
        {"expires_ms": now_ms() + 3_600_000},
        {"use": "check"},
        {"mode": ""},
    ],
    ids=["never valid", "expired", "valid for too long", "another use", "no mode"],
)
def test_a_ticket_that_does_not_permit_this_is_refused(
    house: TestedEnclave, line: Line, request_in: Request, said: dict[str, Any]
) -> None:
    assert is_not_opened(line, house.ticket(request_in.blob, **{**request_in.said, **said}), request_in.blob)


def test_a_ticket_of_another_gateway_is_refused(house: TestedEnclave, line: Line, request_in: Request) -> None:
    claims = house.claims(request_in.blob, **request_in.said)
    assert is_not_opened(line, ticket.sign(claims, Ed25519PrivateKey.generate()), request_in.blob)
    forged = ticket.kid_of(TICKET_KEY.public_key()) + ticket.sign(claims, Ed25519PrivateKey.generate())[8:]
    assert is_not_opened(line, forged, request_in.blob)


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_anywhere_in_ticket_or_request_is_refused(
    house: TestedEnclave, line: Line, request_in: Request, data: st.DataObject
) -> None:
    whole = request_in.ticket + request_in.blob
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    flipped = bytearray(whole)
    flipped[at // 8] ^= 1 << at % 8
    signed, blob = bytes(flipped[: len(request_in.ticket)]), bytes(flipped[len(request_in.ticket) :])
    assert is_not_opened(line, signed, blob)
    # A gateway that was fooled into signing for what was changed does not help either.
    if blob != request_in.blob:
        assert is_not_opened(line, house.ticket(blob, **request_in.said), blob)


def test_an_epoch_that_is_over_opens_nothing_more(kms: Kms, tmp_path: Path) -> None:
    with enclave(kms, tmp_path) as house:
        request = Request(house, kms, house.epoch("e-short", lives_ms=60_000), "hpke")
        house.drift_ms = 60_001
        with house.greeted() as line:
            assert is_not_opened(line, request.ticket, request.blob)


def test_a_lifetime_that_kms_does_not_know_of_is_refused(house: TestedEnclave, kms: Kms, line: Line) -> None:
    """Neither the name nor the end of an epoch can be changed: KMS authenticates both, and no cache forgets it."""
    epoch = house.epoch("e-known")
    Request(house, kms, epoch, "hpke")
    for changed in ({"expires_ms": epoch.expires_ms + 1}, {"epoch": "e-other"}):
        request = Request(house, kms, msgspec.structs.replace(epoch, **changed), "hpke")
        assert is_not_opened(line, request.ticket, request.blob)


def test_a_token_that_kms_refused_is_not_asked_for_again_at_once(house: TestedEnclave, kms: Kms, line: Line) -> None:
    epoch = msgspec.structs.replace(house.epoch("e-unknown"), token=b"made up")
    for expected in (1, 0):
        request, before = Request(house, kms, epoch, "hpke"), kms.calls()
        assert is_not_opened(line, request.ticket, request.blob)
        assert kms.calls() - before == expected


def test_a_request_larger_than_its_mode_is_refused(house: TestedEnclave, line: Line) -> None:
    blob = bytes(6_145)
    with pytest.raises(Refusal, match="too_large"):
        line.opened(house.ticket(blob, mode="kms"), blob)


def test_a_full_memory_refuses_what_is_new_and_still_knows_what_is_old(kms: Kms, tmp_path: Path) -> None:
    with enclave(kms, tmp_path, most_remembered=2) as house, house.greeted() as line:
        epoch = house.epoch()
        for mode in MODES[1:]:  # kms and esdk share theirs
            first, second, third = (Request(house, kms, epoch, mode) for _ in range(3))
            for request in (first, second):
                line.opened(request.ticket, request.blob)
                line.drop()
            with pytest.raises(Refusal, match="unavailable"):
                line.opened(third.ticket, third.blob)
            assert is_not_opened(line, first.ticket, first.blob)


def test_memory_is_free_again_once_its_epoch_is_over(kms: Kms, tmp_path: Path) -> None:
    with enclave(kms, tmp_path, most_remembered=1) as house, house.greeted() as line:
        short, long = house.epoch("e-short", lives_ms=30_000), house.epoch("e-long")
        first, second = Request(house, kms, short, "hpke"), Request(house, kms, long, "hpke")
        line.opened(first.ticket, first.blob)
        line.drop()
        with pytest.raises(Refusal, match="unavailable"):
            line.opened(second.ticket, second.blob)
        house.drift_ms = 30_001
        assert line.opened(second.ticket, second.blob) == ASKED


def test_the_log_tells_the_cause_and_never_what_was_sealed(
    house: TestedEnclave, line: Line, request_in: Request
) -> None:
    before = len(house.outcomes())
    line.opened(request_in.ticket, request_in.blob)
    line.drop()
    assert is_not_opened(line, request_in.ticket, request_in.blob)
    dropped, refused = house.outcomes()[before:]
    assert (dropped["use"], dropped["mode"], dropped["outcome"]) == ("run", request_in.said["mode"], "dropped")
    assert (refused["outcome"], refused["why"]) == ("not_opened", "replay")
    for told in (dropped, refused):
        assert told["duration_ms"] >= 0
        assert not [secret for secret in ("hello", "acme", house.key) if secret in json.dumps(told)]
