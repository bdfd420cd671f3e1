"""A container trusts an enclave that has proved what it is, and nobody else; and it survives the loss of one."""

import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from emulators.security_module import Authority, SimulatedSecurityModule
from local.sealing import PCR0
from sealed.frames import frame
from serving.sealing.enclave import wall_ms
from serving.settings import EnclaveSettings
from tests.images.conftest import Open
from tests.images.enclaves import CONTENT, PIECE, REFUSED, STARTED, Backstage, Frames, frames, running
from tests.images.houses import Gatekeeper, House
from tests.patience import PATIENCE_S, until

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
STREAM = CHAT | {"stream": True}
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def events(capsys: pytest.CaptureFixture[str], name: str) -> list[Any]:
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in said if line["event"] == name]


def is_unavailable(h: House, stage: Backstage) -> bool:
    """Whether a sealed call is refused for want of an enclave, and no model has seen anything of it."""
    body = stage.permitted(b"sealed", mode="hpke", operation="chat.completions", surface="openai")
    answers = [h.call("POST", path, body, CONTENT) for path in ("/invocations", "/v1/chat/completions", "/v1/enclave")]
    assert h.launcher.engines["one"].running + h.launcher.engines["one"].stopped == 0
    return [(answer.status, answer.code) for answer in answers] == [(503, "enclave_unavailable")] * 3


def test_a_container_without_an_enclave_refuses_sealed_calls(house: Open, stage: Backstage) -> None:
    h = house()
    assert is_unavailable(h, stage)
    assert h.call("POST", "/invocations", CHAT).status == 200


def test_an_enclave_that_is_not_there_is_one_reason_in_the_journal(
    house: Open, stage: Backstage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_unavailable(house(enclave=stage.settings("nobody")), stage)
    assert {line["error"] for line in events(capsys, "enclave_unreachable")} == {"FileNotFoundError"}


def test_an_enclave_with_other_measurements_is_not_trusted(
    house: Open, stage: Backstage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_unavailable(house(enclave=stage.settings(pcr0="cd" * 48)), stage)
    (reason,) = {line["reason"] for line in events(capsys, "enclave_refused")}
    assert PCR0 in reason, "the operator is told what it measures"


def test_an_enclave_under_another_root_is_not_trusted(
    house: Open, stage: Backstage, certificate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = stage.settings()
    h = house(enclave=EnclaveSettings(known.address, known.identity, certificate, known.measurements))
    assert is_unavailable(h, stage)
    assert events(capsys, "enclave_refused")
    aws = house(enclave=EnclaveSettings(known.address, known.identity, None, known.measurements))
    assert is_unavailable(aws, stage)


def test_an_enclave_lets_in_only_the_containers_it_knows(house: Open, stage: Backstage, certificate: Path) -> None:
    known = stage.settings()
    assert is_unavailable(
        house(enclave=EnclaveSettings(known.address, certificate, known.root, known.measurements)), stage
    )


@contextmanager
def impostor(stage: Backstage, certificate: Path, heard: list[bytes]) -> Iterator[str]:
    """Sits in the middle with a container's stolen key and a certificate of its own; hands everything on both ways."""
    where = stage.files.socket.with_name("impostor")
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname, ours.verify_mode = False, ssl.CERT_NONE
    ours.load_cert_chain(stage.files.container)

    def relay(wire: socket.socket) -> None:
        onward = socket.socket(socket.AF_UNIX)
        with suppress(OSError), wire, onward:
            onward.connect(str(stage.files.socket))
            with theirs.wrap_socket(wire, server_side=True) as near, ours.wrap_socket(onward) as far:
                while data := near.recv(65536):
                    heard.append(data)
                    far.sendall(data)
                    near.sendall(far.recv(65536))

    def serve() -> None:
        with suppress(OSError):
            while True:
                relay(listening.accept()[0])

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(where))
        listening.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield where.name
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_man_in_the_middle_is_found_out_before_he_is_told_anything(
    house: Open, stage: Backstage, certificate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[bytes] = []
    with impostor(stage, certificate, heard) as name:
        assert is_unavailable(house(enclave=stage.settings(name)), stage)
    assert heard, "he did sit in the middle"
    assert {(len(each), each[4]) for each in heard} == {(len(frame(0x01, bytes(32))), 0x01)}, "a HELLO is all he heard"
    assert "vouches for something else" in events(capsys, "enclave_refused")[0]["reason"]


@contextmanager
def answering_all_alike(stage: Backstage, certificate: Path, document: bytes) -> Iterator[str]:
    """Holds the key of the certificate that the document vouches for, and shows the same document to everybody."""
    where = stage.files.socket.with_name("alike")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve() -> None:
        with suppress(OSError):
            while True:
                wire = listening.accept()[0]
                with suppress(OSError), context.wrap_socket(wire, server_side=True) as near:
                    near.recv(65536)
                    near.sendall(frame(0x81, document))
                    near.recv(1)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(where))
        listening.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield where.name
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_document_that_was_made_for_another_hello_is_refused(
    house: Open, stage: Backstage, certificate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = SimulatedSecurityModule(Authority.read(stage.files.authority.read_bytes()), clock=wall_ms)
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text().partition("-----BEGIN PRIVATE")[0])
    document = module.attest(nonce=bytes(32), user_data=hashlib.sha256(der).digest())
    with answering_all_alike(stage, certificate, document) as name:
        assert is_unavailable(house(enclave=stage.settings(name)), stage)
    assert "not made for this question" in events(capsys, "enclave_refused")[0]["reason"]


@contextmanager
def forwarder(stage: Backstage, accepted: list[socket.socket]) -> Iterator[str]:
    """Hands TCP on to the enclave, as its parent does, and keeps what it accepted."""

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, far = listening.accept()[0], socket.socket(socket.AF_UNIX)
                far.connect(str(stage.files.socket))
                accepted.append(near)
                sockets.extend((near, far))
                copies.extend(threading.Thread(target=copy, args=pair) for pair in ((near, far), (far, near)))
                copies[-2].start()
                copies[-1].start()

    sockets: list[socket.socket] = []
    copies: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve)
        server.start()
        yield f"tcp:127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        server.join()
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    for thread in copies:
        thread.join()
    for each in sockets:
        each.close()


def test_connections_are_kept_and_those_that_broke_are_replaced(house: Open, stage: Backstage) -> None:
    known = stage.settings()
    accepted: list[socket.socket] = []
    with forwarder(stage, accepted) as address:
        h = house(enclave=EnclaveSettings(address, known.identity, known.root, known.measurements))
        for mode in ("kms", "hpke", "esdk"):
            sealed = stage.seal(h, mode, CHAT)
            assert h.call("POST", "/invocations", sealed.body, CONTENT).status == 200
        assert len(accepted) == 1, "three calls and two questions took turns on it"
        accepted[0].shutdown(socket.SHUT_RDWR)
        h.ping()  # when it has answered this, it has seen the connection end
        sealed = stage.seal(h, "kms", CHAT)
        assert h.call("POST", "/invocations", sealed.body, CONTENT).status == 200
        assert len(accepted) == 2


def test_the_gateway_may_ask_the_enclave_through_every_door(house: Open, stage: Backstage) -> None:
    h = house(enclave=stage.settings())
    body = stage.permitted(b'{"nonce":"","configuration":null}', use="attest")
    for path in ("/v1/enclave", "/invocations", "/models/one/invoke"):
        told = h.call("POST", path, body, CONTENT | {ATTRIBUTES: "op=enclave"})
        assert (told.status, told.headers["content-type"]) == (200, "application/json")
        assert told.json["document"]
    forged = h.call("POST", "/v1/enclave", body.replace(b'"attest"', b'"epoch"'), CONTENT)
    assert (forged.status, forged.code) == (401, "not_opened")


def test_an_enclave_that_dies_ends_its_streams_and_its_successor_serves_the_next(house: Open, stage: Backstage) -> None:
    gate = Gatekeeper()
    h = house(gate, enclave=stage.settings("mortal"))
    with running(stage.enclave("mortal")) as first:
        sealed = stage.seal(h, "hpke", STREAM, stream=True)
        gate.let(1)
        got = frames(h.open("POST", "/invocations", sealed.body, CONTENT))
        assert [next(got)[0], next(got)[0]] == [STARTED, PIECE]
        first.kill()
        gate.let(9)
        ((kind, said),) = got
        assert kind == REFUSED
        assert json.loads(said)["code"] == "enclave_unavailable"
    until(lambda: h.ping()["in_flight"] == 0)
    assert h.launcher.engines["one"].stopped == 1
    with running(stage.enclave("mortal")):
        sealed = stage.seal(h, "hpke", CHAT)
        assert h.call("POST", "/invocations", sealed.body, CONTENT).status == 200


def test_a_client_that_leaves_makes_the_enclave_forget_and_costs_no_connection(house: Open, stage: Backstage) -> None:
    gate = Gatekeeper()
    h = house(gate, enclave=stage.settings("own"))
    with running(stage.enclave("own")) as enclave:
        for mode in ("hpke", "esdk"):
            sealed = stage.seal(h, mode, STREAM, stream=True)
            gate.let(1)
            response = h.open("POST", "/invocations", sealed.body, CONTENT)
            assert next(frames(response))[0] == STARTED
            assert gate.waiting.acquire(timeout=PATIENCE_S)
            response.close()
            until(lambda: h.ping()["in_flight"] == 0)
            until(lambda mode=mode: (mode, "dropped") in [(line["mode"], line["outcome"]) for line in enclave.said])  # type: ignore[misc]
            gate.let(5)
            sealed = stage.seal(h, mode, CHAT)
            assert Frames(h.call("POST", "/invocations", sealed.body, CONTENT).body).tokens == [5]
        assert "broken_off" not in [line["outcome"] for line in enclave.said]
