"""What a connection may take: heads that dawdle or do not end, idle ones, and clients that still send when answered."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from chalicelib import wiring
from chalicelib.engines.scripted import whole
from chalicelib.http.protocol import Connections
from chalicelib.http.server import that_fit
from tests.certificates import self_signed
from tests.patience import PATIENCE_S, until
from tests.small_deployments import Deployment, Gateway, front, served

LONG_S = 10 * PATIENCE_S
SOON_S = 1.0  # in which a test that has begun can go on, however busy the machine
HEAD = b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n"
UNFINISHED = b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"
CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}]}


@contextmanager
def house_of(deployment: Deployment, **bounds: Any) -> Iterator[Gateway]:
    """Bounds that a test does not name are out of its reach."""
    far = {"head_s": LONG_S, "linger_s": LONG_S, "unread_s": LONG_S}
    connections = Connections(**{**far, **bounds})
    with wiring.opening_into(deployment.rooms()), served(front(), connections=connections) as up:
        yield up


def gateway_with(**bounds: Any) -> AbstractContextManager[Gateway]:
    return house_of(Deployment(), **bounds)


def connected(to: Gateway) -> socket.socket:
    return socket.create_connection((to.host, to.port), PATIENCE_S)


def to_the_end(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    said = b""
    while piece := connection.recv(65_536):
        said += piece
    return said


def answered(connection: socket.socket) -> int:
    """The status of one answer, of which nothing is left behind."""
    said = b""
    while b"\r\n\r\n" not in said:
        said += connection.recv(65_536)
    head, _, body = said.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    while len(body) < length:
        body += connection.recv(65_536)
    assert len(body) == length
    return int(head.split()[1])


def refusal(said: bytes) -> tuple[int, Any]:
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/inference", lambda body: body["type"]), ("/tenants/acme/v1/models", lambda body: body["error"]["code"])],
)
def test_a_head_that_dawdles_is_refused_in_the_shape_of_its_route(path: str, kind: Callable[[Any], str]) -> None:
    with gateway_with(head_s=SOON_S) as gateway, connected(gateway) as slow:
        slow.sendall(f"POST {path} HTTP/1.1\r\nhost: x\r\nx-slow: ".encode())
        status, body = refusal(to_the_end(slow))
    assert (status, kind(body).replace("_", "-").removeprefix("/problems/")) == (408, "request-timeout")


def test_a_dribble_buys_no_time() -> None:
    """Each byte comes in time, and the head does not."""
    with gateway_with(head_s=SOON_S) as gateway, connected(gateway) as slow:
        slow.sendall(b"GET /live HTTP/1.1\r\n")
        slow.settimeout(0.005)
        said = b""
        while not said:
            slow.sendall(b"x")
            try:
                said = slow.recv(65_536)
            except TimeoutError:
                continue
        slow.settimeout(PATIENCE_S)
        assert refusal(said + to_the_end(slow))[0] == 408


@pytest.mark.parametrize("before", [b"", HEAD], ids=["at first", "between requests"])
def test_empty_lines_are_no_request(before: bytes) -> None:
    """A parser skips them, for ever."""
    with gateway_with(head_s=SOON_S) as gateway, connected(gateway) as slow:
        if before:
            slow.sendall(before)
            assert answered(slow) == 200
        slow.sendall(b"\r\n" * 10)
        assert to_the_end(slow) == b""


def test_who_asks_nothing_is_not_answered() -> None:
    with gateway_with(head_s=0.05) as gateway, connected(gateway) as silent:
        assert to_the_end(silent) == b""


@pytest.mark.parametrize("whole_head", [True, False])
def test_a_head_is_bounded_as_it_arrives(whole_head: bool) -> None:
    piece = b"x-%d: " + b"x" * 1_000 + (b"\r\n" if whole_head else b"")
    with gateway_with(head_bytes=32_768) as gateway, connected(gateway) as endless:
        endless.sendall(b"GET /live HTTP/1.1\r\n")
        sent = 0
        endless.setblocking(False)
        said = b""
        while not said:
            with suppress(BlockingIOError):
                sent += endless.send(piece % sent if whole_head else piece)
            try:
                said = endless.recv(65_536)
            except BlockingIOError:
                continue
        endless.settimeout(PATIENCE_S)
        endless.shutdown(socket.SHUT_WR)
        assert refusal(said + to_the_end(endless))[0] == 413


def test_nonsense_is_refused_in_our_shape() -> None:
    with gateway_with() as gateway, connected(gateway) as confused:
        confused.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        status, body = refusal(to_the_end_of(confused))
    assert (status, body["title"]) == (400, "Malformed request")


def to_the_end_of(sender: socket.socket) -> bytes:
    """Of a sender who has said all: the server need not wait for more."""
    sender.shutdown(socket.SHUT_WR)
    return to_the_end(sender)


def test_nonsense_after_a_request_does_not_get_into_its_answer() -> None:
    gate = threading.Event()

    deployment, request = silent(gate)
    with house_of(deployment) as gateway, connected(gateway) as confused:
        confused.sendall(request + b"nonsense\r\n\r\n")
        with suppress(ConnectionResetError):
            assert to_the_end(confused) == b""
        gate.set()


def test_500_idle_connections_are_in_nobodys_way() -> None:
    with gateway_with() as gateway, ExitStack() as held:
        idle = [held.enter_context(connected(gateway)) for _ in range(500)]
        for connection in idle[::2]:
            connection.sendall(b"GET /live HTTP/1.1\r\nhost: x\r\n")
        assert gateway.call("GET", "/live").status == 200
        for connection in idle[::2]:
            connection.sendall(b"\r\n")
            assert answered(connection) == 200


def test_a_new_connection_takes_the_place_of_one_that_does_nothing() -> None:
    with gateway_with(most=20) as gateway, ExitStack() as held:
        idle = [held.enter_context(connected(gateway)) for _ in range(20)]
        for _ in range(30):
            assert gateway.call("GET", "/live").status == 200
        for connection in idle:
            connection.settimeout(0)
        closed = [connection for connection in idle if not _open(connection)]
        assert 1 <= len(closed) <= 20


def _open(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


@pytest.mark.parametrize("begun", [HEAD + b"G", UNFINISHED], ids=["head", "body"])
def test_what_has_begun_and_waits_for_no_answer_keeps_nobody_out(begun: bytes) -> None:
    with gateway_with(most=5) as gateway, ExitStack() as held:
        for _ in range(5):
            dawdling = held.enter_context(connected(gateway))
            dawdling.sendall(begun)
            assert answered(dawdling)  # so that what follows has begun
        with connected(gateway) as honest:
            for _ in range(4):  # others who come meanwhile take the places of those who have waited longer
                held.enter_context(connected(gateway))
            honest.sendall(HEAD)
            assert answered(honest) == 200


def silent(gate: threading.Event) -> tuple[Deployment, bytes]:
    """A deployment whose model says nothing before the gate is open, and a request to it."""
    deployment = Deployment(script=lambda _, __: [gate, *whole("done")])
    deployment.pool()
    deployment.tenant()
    body = json.dumps(CHAT).encode()
    request = (
        f"POST /tenants/acme/v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {deployment.key()}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    return deployment, request


def test_where_all_wait_for_answers_a_new_one_is_told_to_come_again() -> None:
    gate = threading.Event()
    deployment, request = silent(gate)
    with house_of(deployment, most=2) as gateway, connected(gateway) as one, connected(gateway) as two:
        for busy in (one, two):
            busy.sendall(request)
        until(lambda: deployment.engine.running == 2)
        with connected(gateway) as third:
            status, body = refusal(to_the_end_of(third))
        gate.set()
        assert [answered(busy) for busy in (one, two)] == [200, 200]
    assert (status, body["retry_in_ms"]) == (503, 1_000)


def test_an_empty_line_behind_a_request_costs_no_answer() -> None:
    gate = threading.Event()
    deployment, request = silent(gate)
    with house_of(deployment, head_s=SOON_S) as gateway, connected(gateway) as asking:
        asking.sendall(request)
        until(lambda: deployment.engine.running == 1)
        asking.sendall(b"\r\n")
        with connected(gateway) as silence:  # which ends later than it would
            assert to_the_end(silence) == b""
        gate.set()
        assert answered(asking) == 200


def test_an_answer_reaches_who_still_sends() -> None:
    with gateway_with() as gateway, connected(gateway) as talker:
        talker.sendall(b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n")
        talker.sendall(b" " * 3_000_000)
        assert answered(talker) == 404
        talker.sendall(HEAD)  # and its connection goes on
        assert answered(talker) == 200


def test_an_answer_reaches_who_still_sends_and_wants_their_connection_closed() -> None:
    with gateway_with() as gateway, connected(gateway) as talker:
        talker.sendall(b"POST /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3000000\r\n\r\n")
        status, _ = refusal(to_the_end(talker))  # all of it, before the body has begun
        assert status == 404
        talker.sendall(b" " * 3_000_000)
        assert talker.recv(1) == b""


@pytest.mark.parametrize("bounds", [{"linger_s": 0.05}, {"linger_bytes": 100_000}], ids=["for ever", "without end"])
def test_who_goes_on_sending_when_answered_is_cut_off(bounds: dict[str, Any]) -> None:
    with gateway_with(**bounds) as gateway, connected(gateway) as endless:
        endless.sendall(b"POST /nowhere HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        assert answered(endless) == 404
        with pytest.raises(OSError, match=r"reset|pipe"):  # the first one that finds it closed
            while True:
                endless.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")


def test_the_bounds_hold_over_tls_too(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    bounds = Connections(head_s=SOON_S, linger_s=SOON_S)  # TLS tells no end of its own before the connection ends
    rooms = Deployment().rooms()
    with wiring.opening_into(rooms), served(front(), certificate, bounds) as gateway, connected(gateway) as plain:
        trust = ssl.create_default_context(cafile=certificate)
        with trust.wrap_socket(plain, server_hostname="127.0.0.1") as slow:
            slow.sendall(b"GET /live HTTP/1.1\r\nx-slow: ")
            assert refusal(to_the_end(slow))[0] == 408


def test_no_more_connections_are_wanted_than_there_are_files_for() -> None:
    assert that_fit(10) == 10
    assert that_fit(10**9) < 10**9


@pytest.mark.parametrize("apart", [False, True], ids=["at once", "body apart"])
def test_who_wishes_for_another_protocol_is_answered_in_this_one(apart: bool) -> None:
    """As Java's own HTTP client does, in each request over plain HTTP."""
    gate = threading.Event()
    gate.set()
    deployment, request = silent(gate)
    head, _, body = request.partition(b"\r\n\r\n")
    waits = b"expect: 100-continue\r\n" if apart else b""
    head += b"\r\n" + waits + b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMA\r\n\r\n"
    goes_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    with house_of(deployment) as gateway, connected(gateway) as wishing:
        for _ in range(2):  # and its connection goes on
            wishing.sendall(head if apart else head + body)
            if apart:
                assert wishing.recv(len(goes_on)) == goes_on
                wishing.sendall(body)
            assert answered(wishing) == 200


def test_wishes_for_another_protocol_do_not_pile_up() -> None:
    wish = b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    with gateway_with() as gateway, connected(gateway) as piling:
        piling.sendall(wish * 1_000)
        with suppress(ConnectionResetError):
            assert to_the_end(piling).count(b"HTTP/1.1 ") <= 1
        assert gateway.call("GET", "/live").status == 200
