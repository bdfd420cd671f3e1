"""The way to DynamoDB: over TLS, on connections that die, past answers that make no sense."""

import json
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from chalicelib.dynamodb import ConditionFailed, Tables, open_tables
from chalicelib.refusal import StoreUnavailable
from chalicelib.tables import models_of
from emulators.sockets import reserve
from tests.engines.servers import Request, Server, Wire, serving, whole
from tests.stores import sent

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


@pytest.mark.parametrize(
    ("answers", "times"),
    [
        (["whole"], 0),
        (["complaint"], 0),
        (["fault", "whole"], 1),
        (["hung up", "whole"], 1),
        (["hung up", "complaint"], 1),
        (["hung up", "fault"], 2),
        (["nonsense"], 1),
    ],
)
def test_whoever_minds_is_told_how_often_a_call_left_and_nobody_heard_what_became_of_it(
    answers: list[str], times: int
) -> None:
    def answer(_: Request, wire: Wire) -> None:
        match answers.pop(0):
            case "whole":
                wire.send(whole(b"{}"))
            case "complaint":
                wire.send(whole(b'{"__type":"ThrottlingException"}', 400))
            case "fault":
                wire.send(whole(b"{}", 500))
            case "nonsense":
                wire.send(whole(b"<html>"))
            case _:
                wire.hang_up()

    unheard: list[None] = []
    with serving(answer) as server, suppress(StoreUnavailable):
        reach(server).call("PutItem", lambda: unheard.append(None), TableName="cloister-meters")
    assert len(unheard) == times
    assert answers == []


def test_a_call_that_never_left_has_no_unknown_outcome() -> None:
    unheard: list[None] = []
    with reserve() as nobody:
        tables = open_tables("eu-west-1", "cloister", 2_000, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(StoreUnavailable):
            tables.call("PutItem", lambda: unheard.append(None), TableName="cloister-meters")
    assert unheard == []


def test_a_store_is_trusted_by_its_certificate_only(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(answer, context) as server:
        with pytest.raises(StoreUnavailable):
            get(reach(server))
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        assert get(reach(server)) == ITEM


@pytest.mark.parametrize("answers", [[500, 200], [503, 200]])
def test_a_fault_of_the_store_is_asked_about_once_more(answers: list[int]) -> None:
    with serving(lambda _, wire: wire.send(whole(b"{}", answers.pop(0)))) as server:
        tables = reach(server)
        left = sent(tables)
        assert get(tables) == {}
        assert left == ["GetItem", "GetItem"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"no"}', "ThrottlingException"),
        (b'{"__type":"AccessDeniedException","Message":"no"}', "AccessDeniedException"),
        (b"{}", "400"),
    ],
)
def test_what_the_store_complains_of_is_told_by_its_code(said: bytes, code: str) -> None:
    with serving(lambda _, wire: wire.send(whole(said, 400))) as server, pytest.raises(StoreUnavailable, match=code):
        get(reach(server))
    assert len(server.requests) == 1


def test_whose_condition_failed_gets_the_item_that_was_there() -> None:
    said = {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", **ITEM}
    with serving(lambda _, wire: wire.send(whole(json.dumps(said).encode(), 400))) as server:
        with pytest.raises(ConditionFailed) as failed:
            get(reach(server))
        assert failed.value.old == ITEM["Item"]


def test_what_is_managed_goes_out_by_the_same_wire() -> None:
    """And on the same connections."""
    counted = {"Count": 0, "ScannedCount": 0, "Items": []}
    with serving(lambda _, wire: wire.send(whole(json.dumps(counted).encode()))) as server:
        tables = reach(server)
        get(tables)
        assert models_of(tables).tenancy.count("acme") == 0
        assert [each.headers["x-amz-target"] for each in server.requests] == [
            "DynamoDB_20120810.GetItem",
            "DynamoDB_20120810.Query",
        ]
        assert server.connections == 1
