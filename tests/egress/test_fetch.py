"""Calls to the outside: what was judged is what is dialled, and a metadata server sees nobody."""

import queue
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from chalicelib.egress import Egress, NotCallable
from chalicelib.egress.fetch import RESOLVING_AT_ONCE
from chalicelib.http1.dialling import Address, LookUp
from chalicelib.http1.failure import NotHttp, Silent, Unreachable
from chalicelib.http1.server import Patience
from tests.certificates import self_signed
from tests.egress.test_addresses import INSIDE
from tests.engines import servers
from tests.engines.servers import Request, Server, Wire, whole
from tests.patience import PATIENCE_S

LIMIT = 1_000


@pytest.fixture
def metadata() -> Iterator[Server]:
    """What every attack wants to reach: on this machine, where each of its names leads."""
    with servers.serving(servers.always(whole(b'{"AccessKeyId":"AKIA"}'))) as server:
        yield server


def has_seen_nobody(server: Server) -> bool:
    """Connections are accepted in order: so nobody came before the one that this makes."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as knock:
        knock.sendall(b"GET /knock HTTP/1.1\r\n\r\n")
        knock.recv(1)
    return [request.path for request in server.requests] == ["/knock"] and server.connections == 1


def dialled_as(address: str, port: int) -> Address:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))


def leading(*addresses: str) -> LookUp:
    return lambda _name, port: [dialled_as(address, port) for address in addresses]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "user@127.0.0.1", "[::1]"),
        *("[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127.0.0.1.", "１２７.0.0.1", "127.0.0.1%00"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_spelling_of_an_address_inside_reaches_it(metadata: Server, scheme: str, host: str) -> None:
    with pytest.raises(NotCallable):
        Egress().get(f"{scheme}://{host}:{metadata.port}/latest/meta-data/", limit_bytes=LIMIT)
    assert has_seen_nobody(metadata)


@pytest.mark.parametrize("address", INSIDE)
def test_no_name_that_leads_inside_is_dialled(metadata: Server, address: str) -> None:
    for addresses in ((address,), ("8.8.8.8", address), (address, "8.8.8.8")):
        with pytest.raises(NotCallable):
            Egress(look_up=leading(*addresses)).get(f"https://issuer.example:{metadata.port}/", limit_bytes=LIMIT)
    assert has_seen_nobody(metadata)


def test_a_name_is_resolved_once_and_dialled_where_it_led(metadata: Server) -> None:
    with servers.serving(servers.always(whole(b"{}"))) as server:
        leads = [dialled_as("127.0.0.1", server.port), dialled_as("127.0.0.1", metadata.port)]
        origin = f"http://issuer.example:{server.port}"
        egress = Egress([origin], lambda _name, _port: [leads.pop(0)])
        assert egress.get(f"{origin}/a?b", limit_bytes=LIMIT).body == b"{}"
        assert len(leads) == 1
        (request,) = server.requests
        assert (request.path, request.headers["host"]) == ("/a?b", f"issuer.example:{server.port}")
    assert has_seen_nobody(metadata)


def test_a_redirect_is_an_answer_and_leads_nowhere(metadata: Server) -> None:
    answer = servers.head(302, location=metadata.root, content_length="0")
    with servers.serving(servers.always(answer)) as server:
        assert Egress([server.root]).get(server.root, limit_bytes=LIMIT).status == 302
    assert has_seen_nobody(metadata)


def test_what_the_operator_named_is_one_origin_and_no_other(metadata: Server) -> None:
    with servers.serving(servers.always(whole(b"{}"))) as server:
        egress = Egress([server.root])
        assert egress.get(server.root, limit_bytes=LIMIT).status == 200
        with pytest.raises(NotCallable):
            egress.get(metadata.root, limit_bytes=LIMIT)
    assert has_seen_nobody(metadata)


def test_nothing_of_ours_goes_along() -> None:
    with servers.serving(servers.always(whole(b"{}"))) as server:
        Egress([server.root]).get(server.root, limit_bytes=LIMIT)
        (request,) = server.requests
    assert request.headers.keys() == {"host", "content-length", "accept", "connection", "user-agent"}


@pytest.fixture
def own_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    certificate = self_signed(tmp_path, "issuer.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


@pytest.mark.parametrize(("name", "trusted"), [("issuer.example", True), ("other.example", False)])
def test_the_certificate_is_of_the_name_and_not_of_the_address(own_authority: Path, name: str, trusted: bool) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(own_authority)
    with servers.serving(servers.always(whole(b"{}")), tls) as server:
        origin = f"https://{name}:{server.port}"
        egress = Egress([origin], leading("127.0.0.1"))
        if trusted:
            assert egress.get(origin, limit_bytes=LIMIT).body == b"{}"
        else:
            with pytest.raises(Unreachable, match="CERTIFICATE"):
                egress.get(origin, limit_bytes=LIMIT)


def test_the_next_address_is_tried_where_nobody_is_at_the_first() -> None:
    with servers.serving(servers.always(whole(b"{}"))) as server:
        origin = f"http://issuer.example:{server.port}"
        egress = Egress([origin], leading("127.0.0.9", "127.0.0.1"))
        assert egress.get(origin, limit_bytes=LIMIT).status == 200


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_no_more_is_read_than_was_asked_for(size: int) -> None:
    with servers.serving(servers.always(whole(b"a" * size))) as server:
        if size == LIMIT:
            assert len(Egress([server.root]).get(server.root, limit_bytes=LIMIT).body) == LIMIT
        else:
            with pytest.raises(NotHttp):
                Egress([server.root]).get(server.root, limit_bytes=LIMIT)


def test_a_body_that_drips_ends_in_time() -> None:
    """Each byte comes well within any silence; together they would take for ever."""
    gone = threading.Event()

    def drip(_: Request, wire: Wire) -> None:
        wire.send(servers.head(content_length="1000"))
        while not gone.wait(0.01):
            wire.send(b"a")

    with servers.serving(drip) as server:
        with pytest.raises(Silent):
            Egress([server.root], patience=Patience(connect_s=PATIENCE_S, silence_s=0.3)).get(
                server.root, limit_bytes=LIMIT
            )
        gone.set()


def test_a_name_that_is_never_resolved_keeps_nobody() -> None:
    answered = threading.Event()
    looking: queue.Queue[str] = queue.Queue()

    def hang(name: str, _port: int) -> Sequence[Address]:
        looking.put(name)
        answered.wait(PATIENCE_S)
        return []

    egress = Egress(look_up=hang, patience=Patience(connect_s=0.01, silence_s=PATIENCE_S))
    for number in range(RESOLVING_AT_ONCE + 1):
        with pytest.raises(Unreachable, match="not resolved"):
            egress.get(f"https://issuer-{number}.example", limit_bytes=LIMIT)
        if number < RESOLVING_AT_ONCE:
            looking.get(timeout=PATIENCE_S)
    assert looking.empty()
    answered.set()


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("label"), OSError("broken")])
def test_a_name_that_nobody_knows_is_unreachable(error: Exception) -> None:
    def fail(_name: str, _port: int) -> Sequence[Address]:
        raise error

    with pytest.raises(Unreachable, match="not resolved"):
        Egress(look_up=fail).get("https://issuer.example", limit_bytes=LIMIT)


def test_an_address_of_an_interface_is_not_dialled() -> None:
    with pytest.raises(NotCallable):
        Egress(look_up=leading("fe80::1%eth0")).get("https://issuer.example", limit_bytes=LIMIT)
