"""Whose address counts: a proxy's word only where the operator has said that one stands there."""

import pytest

from app import app
from chalicelib import wiring
from chalicelib.http.bridge import Bridge
from chalicelib.http.hops import client_address
from chalicelib.settings import Settings
from tests.api.bedrock_script import Caller, ScriptedBedrock
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
