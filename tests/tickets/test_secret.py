"""The ticket key out of Secrets Manager, as botocore reads it over the wire."""

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest

from chalicelib.settings import Settings
from chalicelib.tickets.issuer import Unreadable
from chalicelib.tickets.secret import TicketKey
from tests.stores import REGION, Served

KEY = bytes(range(32))


@pytest.fixture
def secrets_manager(stores: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    url = stores.url("local")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)
    client = botocore.session.get_session().create_client("secretsmanager", region_name=REGION)
    yield client
    client.close()


def stored(secrets_manager: Any, text: str) -> str:
    name = f"cloister-test-{uuid.uuid4().hex}"
    secrets_manager.create_secret(Name=name, SecretString=text)
    return name


def key_in(name: str) -> bytes:
    return TicketKey(Settings(ticket_secret=name))()


def test_the_key_is_the_secrets(secrets_manager: Any) -> None:
    name = stored(secrets_manager, json.dumps({"ticket_key": base64.b64encode(KEY).decode()}))
    assert key_in(name) == KEY


def test_a_new_value_is_read_by_the_same_reader(secrets_manager: Any) -> None:
    name = stored(secrets_manager, json.dumps({"ticket_key": base64.b64encode(KEY).decode()}))
    reader = TicketKey(Settings(ticket_secret=name))
    assert reader() == KEY
    secrets_manager.put_secret_value(
        SecretId=name, SecretString=json.dumps({"ticket_key": base64.b64encode(KEY[::-1]).decode()})
    )
    assert reader() == KEY[::-1]


@pytest.mark.parametrize(
    "text",
    ["hush", '{"ticket_key":"hush"}', '{"ticket_key":"aHVzaA=="}', '{"ticket_key":null}', '["hush"]', '"\\ud800hush"'],
)
def test_a_secret_that_is_no_key_is_refused_without_being_quoted(secrets_manager: Any, text: str) -> None:
    name = stored(secrets_manager, text)
    with pytest.raises(Unreadable) as refused:
        key_in(name)
    assert "hush" not in str(refused.value) and "aHVzaA" not in str(refused.value)


def test_a_secret_that_is_not_there_is_unreadable(secrets_manager: Any) -> None:
    with pytest.raises(Unreadable, match="ResourceNotFound"):
        key_in("cloister-nowhere")


def test_where_no_secret_is_set_nobody_is_asked() -> None:
    with pytest.raises(Unreadable, match="CLOISTER_TICKET_SECRET"):
        key_in("")


def test_a_secrets_manager_that_is_not_there_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    with pytest.raises(Unreadable, match="EndpointConnectionError"):
        key_in("cloister-unreachable")
