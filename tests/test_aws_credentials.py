"""With what the process signs: what the environment holds, else what botocore finds."""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib import aws_credentials
from chalicelib.aws_credentials import NoCredentials, in_environment
from chalicelib.signature import Credentials
from tests.engines.servers import Request, Wire, serving, whole

KEY = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.mark.parametrize(
    ("environment", "credentials"),
    [
        (KEY, Credentials("AKIAEXAMPLE", "secret")),
        (KEY | {"AWS_SESSION_TOKEN": "session"}, Credentials("AKIAEXAMPLE", "secret", "session")),
        (KEY | {"AWS_SECURITY_TOKEN": "session"}, Credentials("AKIAEXAMPLE", "secret", "session")),
        (KEY | {"AWS_CREDENTIAL_EXPIRATION": "2030-01-01T00:00:00Z"}, None),
        ({"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE"}, None),
        ({}, None),
    ],
)
def test_the_environments_are_taken_where_they_stay(
    environment: dict[str, str], credentials: Credentials | None
) -> None:
    assert in_environment(environment) == credentials


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A process that has none."""
    for name in (*KEY, "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    aws_credentials._found.cache_clear()
    yield monkeypatch
    aws_credentials._found.cache_clear()


def test_where_there_are_none_it_is_said_and_looked_again(nowhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = aws_credentials.own()
    with pytest.raises(NoCredentials, match="NoCredentialsError"):
        find()
    found = tmp_path / "found"
    found.write_text("[default]\naws_access_key_id = AKIAFOUND\naws_secret_access_key = secret\n")
    nowhere.setenv("AWS_SHARED_CREDENTIALS_FILE", str(found))
    assert find() == Credentials("AKIAFOUND", "secret")


def test_a_containers_are_fetched_again_before_they_expire(nowhere: pytest.MonkeyPatch) -> None:
    now = datetime.datetime.now(datetime.UTC)

    def gives(_: Request, wire: Wire) -> None:
        number = len(server.requests)
        # botocore takes new ones as long as those it has live for less than ten minutes.
        expires = now + datetime.timedelta(minutes=5 if number < 3 else 600)
        given = {
            "AccessKeyId": f"AKIA{number}",
            "SecretAccessKey": "secret",
            "Token": f"session {number}",
            "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        wire.send(whole(json.dumps(given).encode()))

    with serving(gives) as server:
        nowhere.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.root}/role")
        find = aws_credentials.own()
        assert [find() for _ in range(4)] == [
            Credentials("AKIA2", "secret", "session 2"),
            *[Credentials("AKIA3", "secret", "session 3")] * 3,
        ]
