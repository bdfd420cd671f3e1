"""The way to DynamoDB: over TLS, on connections that die, past answers that make no sense."""

import json
import ssl
from pathlib import Path

import pytest

from chalicelib.refusal import StoreUnavailable
from chalicelib.tables import Tables, open_tables
from tests.engines.servers import Request, Server, Wire, serving, whole

ITEM = {"Item": {"pk": {"S": "acme"}}}


def answer(_: Request, wire: Wire) -> None:
    wire.send(whole(json.dumps(ITEM).encode(), 200, content_type="application/x-amz-json-1.0"))


def answer_once(_: Request, wire: Wire) -> None:
    """And hang up, as a store does with a connection that was idle too long; only sooner."""
    answer(_, wire)
    wire.hang_up()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")


def reach(server: Server) -> Tables:
    return open_tables("eu-west-1", "cloister", 2_000, server.root)


def get(tables: Tables) -> object:
    return tables.call("GetItem", TableName="cloister-meters", Key={"pk": {"S": "acme"}})


def test_a_call_is_signed_and_names_its_operation() -> None:
    with serving(answer) as server:
        assert get(reach(server)) == ITEM
    headers = server.requests[0].headers
    assert headers["x-amz-target"] == "DynamoDB_20120810.GetItem"
    assert headers["x-amz-security-token"] == "session"
    assert "Credential=AKIAEXAMPLE/" in headers["authorization"]
    assert "/eu-west-1/dynamodb/aws4_request" in headers["authorization"]


def test_connections_are_kept() -> None:
    with serving(answer) as server:
        tables = reach(server)
        for _ in range(5):
            get(tables)
        assert server.connections == 1


def test_a_connection_that_died_idle_costs_nobody_an_answer() -> None:
    with serving(answer_once) as server:
        tables = reach(server)
        for _ in range(5):
            assert get(tables) == ITEM


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1", b"\xff"])
def test_an_answer_that_makes_no_sense_is_a_store_that_does_not_answer(body: bytes) -> None:
    with serving(lambda _, wire: wire.send(whole(body))) as server, pytest.raises(StoreUnavailable):
        get(reach(server))


def test_a_store_is_trusted_by_its_certificate_only(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(answer, context) as server:
        with pytest.raises(StoreUnavailable):
            get(reach(server))
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        assert get(reach(server)) == ITEM
