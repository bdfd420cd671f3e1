"""Calls over connections that are kept where they can be, cut where they must be, and polled or waited for."""

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from chalicelib.http1 import message, trust
from chalicelib.http1.answer import Answer
from chalicelib.http1.failure import BrokeOff, Failed, NotHttp, Unreachable
from chalicelib.http1.place import Place
from chalicelib.http1.server import CONNECTIONS, LOOK_S, Server
from tests.engines.servers import LAST_CHUNK, Request, Wire, always, chunk, head, serving, stream_head, whole
from tests.http1.arrange import PATIENT, ask, asking
from tests.patience import PATIENCE_S

LONG = b"a" * 300_000


def waited(answer: Answer) -> bytes:
    return answer.read(1_000_000)


def polled(answer: Answer) -> bytes:
    """As a loop does."""
    pieces: list[bytes] = []
    answer.receive()
    while True:
        piece = answer.poll()
        if piece == b"":
            answer.close()
            return b"".join(pieces)
        if piece is None:
            assert select.select([answer], [], [], PATIENCE_S)[0]
            answer.receive()
        else:
            pieces.append(piece)


READERS = [waited, polled]
Read = Callable[[Answer], bytes]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (whole(b"Hello"), b"Hello"),
        (whole(LONG), LONG),
        (stream_head() + chunk(b"Hel") + chunk(b"lo") + LAST_CHUNK, b"Hello"),
        (head(204), b""),
    ],
)
def test_one_connection_serves_one_call_after_the_other(wire: bytes, body: bytes, read: Read) -> None:
    with asking(always(wire)) as (server, other):
        for _ in range(4):
            assert read(ask(server)) == body
        assert (len(other.requests), other.connections) == (4, 1)


@pytest.mark.parametrize("body", [b"", b"?", LONG])
def test_the_request_arrives_as_it_was_sent(body: bytes) -> None:
    with asking(always(whole(b""))) as (server, other):
        ask(server, body).read(0)
        assert other.requests == [
            Request("POST", "/", {"host": server.place.host, "content-length": str(len(body))}, body)
        ]


@pytest.mark.parametrize("read", READERS)
def test_an_answer_may_end_with_its_connection(read: Read) -> None:
    def hangs_up(_: Request, wire: Wire) -> None:
        wire.send(head() + b"Hello")
        wire.hang_up()

    with asking(hangs_up) as (server, other):
        assert [read(ask(server)) for _ in range(2)] == [b"Hello"] * 2
        assert other.connections == 2


@pytest.mark.parametrize("read", READERS)
def test_an_answer_that_breaks_off_is_none(read: Read) -> None:
    def hangs_up(_: Request, wire: Wire) -> None:
        wire.send(stream_head() + chunk(b"Hello"))
        wire.hang_up()

    with asking(hangs_up) as (server, _), pytest.raises(BrokeOff):
        read(ask(server))


def test_a_connection_that_was_closed_while_it_was_kept_costs_nobody_an_answer() -> None:
    closed = threading.Event()

    def answers_once(request: Request, wire: Wire) -> None:
        wire.send(whole(b"Hello"))
        wire.hang_up()
        closed.set()

    with asking(answers_once) as (server, other):
        for _ in range(3):
            closed.clear()
            assert ask(server).read(5) == b"Hello"
            assert closed.wait(PATIENCE_S)
        assert (len(other.requests), other.connections) == (3, 3)


def hanging_up_on_the_second() -> Callable[[Request, Wire], None]:
    asked = count(1)

    def answer(request: Request, wire: Wire) -> None:
        if next(asked) == 2:
            wire.hang_up()
        else:
            wire.send(whole(b"Hello"))

    return answer


def test_a_connection_that_is_closed_as_it_is_used_costs_nobody_an_answer() -> None:
    with asking(hanging_up_on_the_second()) as (server, other):
        assert [ask(server).read(5) for _ in range(2)] == [b"Hello"] * 2
        assert (len(other.requests), other.connections) == (3, 2)


def test_who_asks_again_by_rules_of_its_own_is_told_of_it() -> None:
    with asking(hanging_up_on_the_second()) as (server, other):
        ask(server).read(5)
        with pytest.raises(BrokeOff):
            server.ask_once(message.head("POST", "/", server.place.host, {}, 0))
        assert (len(other.requests), other.connections) == (2, 1)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200"])
def test_who_dies_of_a_request_gets_it_once(begun: bytes) -> None:
    """On a fresh connection; and on a kept one, where an answer had begun."""

    def dies(_: Request, wire: Wire) -> None:
        if begun and len(other.requests) == 1:
            wire.send(whole(b""))
        else:
            wire.send(begun)
            wire.hang_up()

    with asking(dies) as (server, other):
        if begun:
            ask(server).read(0)
        with pytest.raises(BrokeOff):
            ask(server)
        assert len(other.requests) == (2 if begun else 1)


def test_what_nobody_asked_for_is_nobodys_answer() -> None:
    """Some say 408 to a connection that is idle, and hang up."""
    said = threading.Event()

    def says_more(request: Request, wire: Wire) -> None:
        wire.send(whole(request.body))
        if request.body == b"1":
            wire.send(whole(b"too late", 408))
            said.set()

    with asking(says_more) as (server, other):
        assert ask(server, b"1").read(9) == b"1"
        assert said.wait(PATIENCE_S)
        assert ask(server, b"2").read(9) == b"2"
        assert other.connections == 2


def test_who_refuses_a_body_before_it_has_come_is_heard() -> None:
    """It hangs up on what is still being sent; its answer has come before that."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(Place.of(f"http://127.0.0.1:{listener.getsockname()[1]}"), PATIENT, trust.of_the_system)

    def refuses() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            connection.recv(100)
            connection.sendall(whole(b"too large", 413))
            connection.close()

    threading.Thread(target=refuses, daemon=True).start()
    with listener:
        for _ in range(2):
            answer = ask(server, b"a" * 20_000_000)
            assert (answer.status, answer.read(9)) == (413, b"too large")


def test_a_body_that_is_longer_than_is_wanted_is_not_read() -> None:
    with asking(always(whole(LONG))) as (server, other):
        for _ in range(2):
            with pytest.raises(NotHttp):
                ask(server).read(99)
        assert other.connections == 2


def test_of_a_body_that_is_not_read_the_connection_is_not_kept() -> None:
    with asking(always(whole(LONG))) as (server, other):
        for _ in range(2):
            ask(server).close()
        assert other.connections == 2


def test_the_little_that_is_left_of_a_body_is_read_for_the_connections_sake() -> None:
    with asking(always(stream_head() + chunk(b"data: [DONE]\n\n"), LAST_CHUNK)) as (server, other):
        for _ in range(3):
            answer = ask(server)
            assert answer.next() == b"data: [DONE]\n\n"
            answer.finish()
        assert other.connections == 1


def test_closing_wakes_the_reader_and_tells_the_server() -> None:
    server_saw_it = threading.Event()

    def hangs(_: Request, wire: Wire) -> None:
        wire.send(stream_head() + chunk(b"Hello"))
        if wire.await_departure():
            server_saw_it.set()

    with asking(hangs) as (server, _):
        answer = ask(server)
        assert answer.next() == b"Hello"
        told: list[BaseException] = []

        def read() -> None:
            try:
                answer.next()
            except Failed as failure:
                told.append(failure)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        answer.close()
        reader.join(PATIENCE_S)
        assert isinstance(told[0], BrokeOff)
        assert server_saw_it.wait(PATIENCE_S)
        answer.close()
        answer.receive()
        for each in (answer.next, answer.poll):
            with pytest.raises(BrokeOff):
                each()


def test_no_more_connections_are_kept_than_was_said() -> None:
    with asking(always(whole(b"Hello"))) as (server, other):
        for count in (CONNECTIONS + 3, 3):
            answers = [ask(server) for _ in range(CONNECTIONS + 3)]
            for answer in answers:
                answer.read(5)
            assert other.connections <= CONNECTIONS + 3 + 3, count


def test_what_is_hung_up_while_it_rests_under_others_is_let_go() -> None:
    wires: list[Wire] = []

    def answers(_: Request, wire: Wire) -> None:
        wires.append(wire)
        wire.send(whole(b"Hello"))

    with asking(answers) as (server, other):
        for answer in [ask(server) for _ in range(3)]:
            answer.read(5)
        under = wires[:2]
        for wire in under:
            wire.stop_sending()
        for _ in under:
            seen_s = time.monotonic()
            while time.monotonic() < seen_s + LOOK_S:
                assert ask(server).read(5) == b"Hello"
            assert ask(server).read(5) == b"Hello"
        assert all(wire.await_departure() for wire in under)
        assert other.connections == 3


def test_what_is_hung_up_as_soon_as_it_has_answered_is_asked_afresh_though_nobody_looked_at_it() -> None:
    wires: list[Wire] = []

    def answers(_: Request, wire: Wire) -> None:
        wires.append(wire)
        wire.send(whole(b"Hello"))

    with asking(answers) as (asked, other):
        server = Server(asked.place, PATIENT, trust.of_the_system, sound_s=3_600)
        assert ask(server).read(5) == b"Hello"
        wires[0].hang_up()
        assert ask(server).read(5) == b"Hello"
        assert other.connections == 2
        server.forget()


def test_many_threads_share_a_server() -> None:
    with asking(lambda request, wire: wire.send(whole(request.body))) as (server, other):
        wrong: list[object] = []

        def work(name: str) -> None:
            try:
                for each in range(30):
                    body = f"{name} {each}".encode()
                    if ask(server, body).read(99) != body:
                        wrong.append(body)
            except Failed as failure:
                wrong.append(failure)

        threads = [threading.Thread(target=work, args=(f"thread {number}",)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert wrong == []
        assert len(other.requests) == 16 * 30
        assert other.connections <= 16


@pytest.mark.parametrize(
    ("url", "symptom"),
    [
        ("http://127.0.0.1:1", "ECONNREFUSED"),
        ("http://no-such-host.invalid", "name not resolved"),
        (f"http://{'a' * 64}.example", "name not resolved"),
    ],
)
def test_who_is_not_there_is_told_by_a_code(url: str, symptom: str) -> None:
    with pytest.raises(Unreachable) as caught:
        ask(Server(Place.of(url), PATIENT, trust.of_the_system))
    assert caught.value.symptom == symptom


# over TLS


def context(certificate: Path) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    return tls


@pytest.mark.parametrize("read", READERS)
def test_over_tls_all_is_as_without(read: Read, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    wire = stream_head() + b"".join(chunk(b"a" * 16_000) for _ in range(20)) + LAST_CHUNK
    with serving(always(wire), context(certificate)) as other:
        server = Server(Place.of(other.root), PATIENT, trust.of_the_system)
        for _ in range(3):
            assert len(read(ask(server, LONG))) == 320_000
        assert other.connections == 1


def test_over_tls_an_end_without_a_farewell_ends_nothing(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs_up(_: Request, wire: Wire) -> None:
        wire.send(head() + b"Hello")
        wire.hang_up()

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(hangs_up, context(certificate)) as other, pytest.raises(BrokeOff):
        ask(Server(Place.of(other.root), PATIENT, trust.of_the_system)).read(5)


@pytest.mark.parametrize("whom", [trust.of_the_system, trust.of_aws])
def test_whom_nobody_vouches_for_gets_no_request(
    whom: trust.Trust, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(always(whole(b"Hello")), context(certificate)) as other:
        server = Server(Place.of(other.root), PATIENT, whom)
        with pytest.raises(Unreachable) as caught:
            ask(server)
        assert caught.value.symptom == "tls CERTIFICATE_VERIFY_FAILED"
        assert other.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        assert ask(server).read(5) == b"Hello"


def test_authorities_are_botocores() -> None:
    from botocore.httpsession import get_cert_path

    assert trust._bundle() == get_cert_path(True)
