"""Whose address counts: a proxy's word only where the operator has said that one stands there."""

import socket
from urllib.parse import quote

import msgspec
import pytest

from app import app
from chalicelib import wiring
from chalicelib.http.bridge import Bridge
from chalicelib.http.hops import client_address
from chalicelib.settings import Settings
from tests.api.bedrock_script import BODY, MODEL, Caller, ScriptedBedrock
from tests.patience import PATIENCE_S
from tests.small_deployments import T0, served

PEER = "198.51.100.1"


def forwarded(*lines: str) -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), *((b"x-forwarded-for", line.encode("latin-1")) for line in lines)]


@pytest.mark.parametrize("lines", [(), ("192.0.2.9",), ("192.0.2.9, 192.0.2.8",)])
def test_without_proxies_nobody_is_believed(lines: tuple[str, ...]) -> None:
    assert client_address(PEER, forwarded(*lines), 0) == PEER


@pytest.mark.parametrize(
    ("lines", "hops", "client"),
    [
        (("192.0.2.9",), 1, "192.0.2.9"),
        (("203.0.113.66, 192.0.2.9",), 1, "192.0.2.9"),  # what the client wrote itself stands to the left
        (("203.0.113.66", "192.0.2.9"), 1, "192.0.2.9"),
        (("203.0.113.66, 192.0.2.9, 192.0.2.1",), 2, "192.0.2.9"),
        (("192.0.2.9:4711",), 1, "192.0.2.9"),
        (("[2001:db8::9]:4711",), 1, "2001:db8::9"),
        (("2001:DB8::9",), 1, "2001:db8::9"),
    ],
)
def test_the_nth_from_the_right_is_the_client(lines: tuple[str, ...], hops: int, client: str) -> None:
    assert client_address(PEER, forwarded(*lines), hops) == client


@pytest.mark.parametrize("lines", [(), ("",), ("192.0.2.9",), ("unknown, 192.0.2.1",), ("<script>, 192.0.2.1",)])
def test_what_is_no_address_or_came_by_fewer_proxies_is_the_peers(lines: tuple[str, ...]) -> None:
    assert client_address(PEER, forwarded(*lines), 2) == PEER


@pytest.mark.parametrize(("hops", "said"), [(0, "127.0.0.1"), (1, "192.0.2.9")])
def test_the_audit_log_says_where_the_client_is(hops: int, said: str) -> None:
    bedrock = ScriptedBedrock()
    bridge = Bridge(app, Settings().body_limit_bytes, {}, trusted_hops=hops)
    with served(bridge) as gateway, wiring.opening_into(bedrock.deployment.rooms()):
        called = Caller(gateway, bedrock)("converse", headers={"X-Forwarded-For": "203.0.113.66, 192.0.2.9"})
    assert called.status == 200
    (entry,) = bedrock.deployment.store.ledger.page("acme", 0, T0 * 2, None, 9).entries
    assert entry.audited is not None
    assert entry.audited.source_ip == said


def test_what_follows_a_body_is_no_header() -> None:
    """What proxies appended to `X-Forwarded-For` in the head, a client could otherwise append to behind them."""
    bedrock = ScriptedBedrock()
    bridge = Bridge(app, Settings().body_limit_bytes, {}, trusted_hops=1)
    with served(bridge) as gateway, wiring.opening_into(bedrock.deployment.rooms()):
        caller = Caller(gateway, bedrock)
        fields = f"host: x\r\nauthorization: Bearer {caller.key}\r\nx-forwarded-for: 192.0.2.9\r\nconnection: close"
        head = f"POST /tenants/acme/v1/bedrock/model/{quote(MODEL, safe='')}/converse HTTP/1.1\r\n{fields}\r\n"
        body = msgspec.json.encode(BODY)
        chunks = b"%x\r\n%b\r\n0\r\nx-forwarded-for: 203.0.113.66\r\n\r\n" % (len(body), body)
        with socket.create_connection((gateway.host, gateway.port), PATIENCE_S) as client:
            client.sendall(head.encode() + b"transfer-encoding: chunked\r\n\r\n" + chunks)
            assert client.recv(12) == b"HTTP/1.1 200"
            while client.recv(65_536):
                continue
    (entry,) = bedrock.deployment.store.ledger.page("acme", 0, T0 * 2, None, 9).entries
    assert entry.audited is not None
    assert entry.audited.source_ip == "192.0.2.9"
