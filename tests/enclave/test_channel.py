"""Who may come in, what may be said when, and that a broken peer costs nobody else anything."""

import hashlib
import json
import os
import socket
import ssl
import struct
import threading
from pathlib import Path

import pytest

from enclave import conversation
from local.sealing import SealingFiles
from sealed import attestation, esdk, hpke
from sealed.frames import MOST_BYTES, frame
from sealed.measurements import Measurements
from tests.certificates import issued_by
from tests.enclave.houses import ASK, DROP, HELLO, OPEN, SEAL, Kms, Line, Refusal, TestedEnclave, enclave, now_ms
from tests.patience import until

PCR0 = hashlib.sha384(b"simulated PCR0").hexdigest()


def sealed_request(house: TestedEnclave, epoch: hpke.KeyConfiguration) -> tuple[bytes, bytes]:
    """Its ticket and itself."""
    request_id = os.urandom(8).hex()
    blob, _ = hpke.seal_request(epoch, tenant="acme", request_id=request_id, pool="demo", plaintext=b"{}")
    return house.ticket(blob, request_id=request_id), blob


@pytest.fixture(scope="module")
def epoch(house: TestedEnclave) -> hpke.KeyConfiguration:
    return house.epoch("e-channel")


def test_the_document_vouches_for_the_certificate_of_this_very_connection(house: TestedEnclave, kms: Kms) -> None:
    nonce = os.urandom(32)
    with house.connect() as line:
        document = line.greet(nonce)
        certificate = line.tls.getpeercert(binary_form=True)
    assert certificate
    root = attestation.root_of(kms.files.root.read_bytes())
    said = attestation.verify(document, root=root, now_ms=now_ms())
    mine = hashlib.sha256(certificate).digest()
    attestation.check(said, nonce=nonce, allowed=Measurements.of(PCR0), user_data=mine)


def test_a_container_that_is_not_known_is_not_let_in(house: TestedEnclave, tmp_path: Path) -> None:
    stranger = SealingFiles(tmp_path / "stranger")
    stranger.close()
    with pytest.raises((ssl.SSLError, ConnectionError)), house.connect(stranger.container) as line:
        line.greet()


def test_who_a_known_container_has_signed_for_is_not_let_in(kms: Kms, tmp_path: Path, certificate: Path) -> None:
    with enclave(kms, tmp_path, container=certificate) as house:
        with house.connect(certificate) as line:
            line.greet()
        with pytest.raises((ssl.SSLError, ConnectionError)), house.connect(issued_by(certificate, tmp_path)) as line:
            line.greet()


def test_a_container_without_a_certificate_is_not_let_in(house: TestedEnclave) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)), Line(house.path, None) as line:
        line.greet()


def test_nothing_older_than_tls_1_3_is_spoken(house: TestedEnclave, kms: Kms) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(kms.files.container)
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(str(house.path))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(plain)


BEFORE_HELLO = [(OPEN, b""), (SEAL, b"\1"), (DROP, b""), (ASK, b"")]
BETWEEN = [(SEAL, b"\1"), (HELLO, b"short"), (DROP, b"?"), (0x09, b""), (OPEN, b""), (OPEN, b"\0\xff"), (ASK, b"\0")]
INSIDE = [(HELLO, bytes(32)), (OPEN, b"\0\0"), (ASK, b"\0\0"), (SEAL, b""), (SEAL, b"\2piece"), (DROP, b"?")]


@pytest.mark.parametrize(("kind", "payload"), BEFORE_HELLO)
def test_hello_comes_first(house: TestedEnclave, kind: int, payload: bytes) -> None:
    with house.connect() as line:
        with pytest.raises(Refusal, match="protocol"):
            line.ask(kind, payload)
        assert line.is_closed()


@pytest.mark.parametrize(("kind", "payload"), BETWEEN)
def test_what_makes_no_sense_between_exchanges_ends_the_connection(
    house: TestedEnclave, kind: int, payload: bytes
) -> None:
    with house.greeted() as line:
        with pytest.raises(Refusal, match="protocol"):
            line.ask(kind, payload)
        assert line.is_closed()


@pytest.mark.parametrize(("kind", "payload"), INSIDE)
def test_what_makes_no_sense_during_an_exchange_ends_the_connection(
    house: TestedEnclave, epoch: hpke.KeyConfiguration, kind: int, payload: bytes
) -> None:
    with house.greeted() as line:
        line.opened(*sealed_request(house, epoch))
        with pytest.raises(Refusal, match="protocol"):
            line.ask(kind, payload)
        assert line.is_closed()


def test_a_streams_piece_must_be_a_whole_event(house: TestedEnclave, epoch: hpke.KeyConfiguration) -> None:
    request_id = "half-event"
    blob, _ = hpke.seal_request(epoch, tenant="acme", request_id=request_id, pool="demo", plaintext=b"{}")
    with house.greeted() as line:
        line.opened(house.ticket(blob, request_id=request_id, stream=True), blob)
        with pytest.raises(Refusal, match="protocol"):
            line.sealed(b"data: hal", final=False)


def test_nothing_more_is_sealed_after_the_final_piece(house: TestedEnclave, epoch: hpke.KeyConfiguration) -> None:
    with house.greeted() as line:
        line.opened(*sealed_request(house, epoch))
        line.sealed(b"all of it")
        with pytest.raises(Refusal, match="protocol"):
            line.sealed(b"and more")


def test_after_a_refusal_the_connection_serves_the_next_exchange(
    house: TestedEnclave, epoch: hpke.KeyConfiguration
) -> None:
    with house.greeted() as line:
        ticket, blob = sealed_request(house, epoch)
        with pytest.raises(Refusal, match="not_opened"):
            line.opened(ticket, blob + b"?")
        line.opened(ticket, blob)
        line.drop()
        line.opened(*sealed_request(house, epoch))
        line.sealed(b"answer")


def test_many_connections_are_served_at_once(house: TestedEnclave, epoch: hpke.KeyConfiguration) -> None:
    lines = [house.greeted() for _ in range(16)]
    opened: list[bytes] = []

    def exchange(line: Line) -> None:
        for _ in range(10):
            opened.append(line.opened(*sealed_request(house, epoch)))
            line.sealed(b"data: answer\n\n", final=False)
            line.sealed(b"")

    threads = [threading.Thread(target=exchange, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for line in lines:
        line.tls.close()
    assert opened == [b"{}"] * 160


def test_the_encryption_sdk_serves_many_at_once_too(house: TestedEnclave, kms: Kms) -> None:
    ids = [f"esdk-{number}" for number in range(24)]
    blobs = [
        esdk.seal(kms.client, house.key, esdk.request_context(tenant="acme", request_id=id_), b"{}") for id_ in ids
    ]
    answers: dict[str, bytes] = {}

    def exchange(mine: list[tuple[str, bytes]]) -> None:
        with house.greeted() as line:
            for request_id, blob in mine:
                line.opened(house.ticket(blob, mode="esdk", request_id=request_id), blob)
                answers[request_id] = line.sealed(request_id.encode())

    asked = list(zip(ids, blobs, strict=True))
    threads = [threading.Thread(target=exchange, args=(asked[at::8],)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for request_id in ids:
        context = esdk.response_context(tenant="acme", request_id=request_id)
        assert esdk.open(kms.client, house.key, context, answers[request_id]) == request_id.encode()


@pytest.mark.parametrize("claimed", [0, MOST_BYTES + 1, 2**32 - 1])
def test_a_frame_of_a_size_that_is_not_allowed_is_refused_by_its_length_alone(
    house: TestedEnclave, claimed: int
) -> None:
    with house.greeted() as line:
        line.tls.sendall(struct.pack(">I", claimed))
        kind, told = line.receive()
        assert (kind, json.loads(told)["code"]) == (0xFF, "protocol")
        assert line.is_closed()


def test_a_frame_before_the_answer_to_the_last_is_refused(house: TestedEnclave) -> None:
    with house.greeted() as line:
        line.tls.sendall(frame(DROP, b"") + frame(DROP, b""))
        kind, told = line.receive()
        assert (kind, json.loads(told)["code"]) == (0xFF, "protocol")


def test_a_piece_that_sealed_would_not_fit_a_frame_is_refused(
    house: TestedEnclave, epoch: hpke.KeyConfiguration
) -> None:
    with house.greeted() as line:
        line.opened(*sealed_request(house, epoch))
        with pytest.raises(Refusal, match="protocol"):
            line.sealed(bytes(conversation.MOST_PIECE_BYTES + 1))


def test_the_largest_request_is_opened(house: TestedEnclave, epoch: hpke.KeyConfiguration) -> None:
    plaintext = os.urandom(7 * 2**20)
    blob, _ = hpke.seal_request(epoch, tenant="acme", request_id="large", pool="demo", plaintext=plaintext)
    with house.greeted() as line:
        assert line.opened(house.ticket(blob, request_id="large"), blob) == plaintext


def test_whoever_does_not_greet_in_time_is_left_and_hinders_nobody(kms: Kms, tmp_path: Path) -> None:
    with enclave(kms, tmp_path, greeting_s=4.0) as house:  # longer than a busy machine needs to greet
        silent = socket.socket(socket.AF_UNIX)
        silent.connect(str(house.path))
        mute = house.connect()
        with house.connect() as line:
            line.greet()
            assert silent.recv(1) == b""
            assert mute.is_closed()
            line.drop()
        silent.close()
        mute.tls.close()


def test_beyond_the_most_connections_a_new_one_is_closed_and_a_freed_place_is_given_again(
    kms: Kms, tmp_path: Path
) -> None:
    with enclave(kms, tmp_path, most_connections=2) as house:
        first, second = house.greeted(), house.greeted()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            house.connect()
        second.drop()
        first.ask(DROP, b"")
        with pytest.raises(Refusal):
            first.ask(0x09, b"")
        assert first.is_closed()
        first.tls.close()

        def let_in() -> bool:
            try:
                house.greeted().tls.close()
            except (ConnectionError, ssl.SSLError):
                return False
            return True

        until(let_in)  # the place is free once its thread has ended, which nothing tells
        second.tls.close()


def test_garbage_instead_of_tls_hinders_nobody(house: TestedEnclave) -> None:
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(str(house.path))
        plain.sendall(os.urandom(4_096))
        with house.greeted() as line:
            line.drop()


def test_a_connection_that_breaks_ends_its_exchange_in_the_log(kms: Kms, tmp_path: Path) -> None:
    with enclave(kms, tmp_path) as house, house.greeted() as line:
        line.opened(*sealed_request(house, house.epoch()))
    assert [told["outcome"] for told in house.outcomes()] == ["told", "told", "broken_off"]


def test_a_stopped_enclave_lets_what_is_open_end(kms: Kms, tmp_path: Path) -> None:
    with enclave(kms, tmp_path) as house:
        idle, busy = house.greeted(), house.greeted()
        busy.opened(*sealed_request(house, house.epoch()))
        house.server.stop()
        assert idle.is_closed()
        assert house.thread.is_alive()
        busy.sealed(b"the end")
        assert busy.is_closed()
        house.thread.join()
        assert house.outcomes()[-1]["outcome"] == "sealed"
        idle.tls.close()
        busy.tls.close()
