"""Whose credentials a call to Bedrock carries, how they are renewed, and that nobody else sees them."""

import json
import logging
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

import botocore.session
import pytest

from chalicelib.call import Finished
from chalicelib.engines.bedrock.credentials import ROLE_MARGIN_MS, SECRET_AGE_MS, YOUNG_MS, Credential
from chalicelib.engines.bedrock.engine import TIMES, BedrockEngine
from chalicelib.pool import Bedrock
from chalicelib.refusal import EngineFailed, Refusal
from chalicelib.settings import Settings
from tests.engines.bedrocks import HAIKU, Clocks, LocalBedrock, Memory, Vault, chat, sandbox
from tests.engines.servers import Request, Server, Wire, serving, whole
from tests.stores import Served

OURS = Bedrock("us", model=HAIKU, region="us-east-1", secret="bedrock")
ROLE = "arn:aws:iam::123456789012:role/bedrock"


def answered(engine: BedrockEngine, target: Bedrock = OURS) -> bool:
    return isinstance(list(engine.open(target, chat()))[-1], Finished)


def keys(bedrock: LocalBedrock) -> list[str]:
    return [call["key"] for call in bedrock.calls()]


def test_without_a_secret_the_gateways_own_role_calls(bedrock: LocalBedrock) -> None:
    assert answered(sandbox(), Bedrock("us", model=HAIKU, region="us-east-1"))
    assert keys(bedrock) == [bedrock.access_key_id]


def test_the_gateways_own_may_be_an_api_key(bedrock: LocalBedrock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", bedrock.bearer)
    assert answered(sandbox(), Bedrock("us", model=HAIKU, region="us-east-1"))
    assert keys(bedrock) == ["bearer"]


def test_an_api_key_is_read_from_secrets_manager(
    bedrock: LocalBedrock, stores: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stores.url("local"))
    secrets = botocore.session.get_session().create_client("secretsmanager", region_name="us-east-1")
    text = json.dumps({"bedrock_api_key": bedrock.bearer, "region": "us-east-1"})
    name = secrets.create_secret(Name="bedrock-read", SecretString=text)["ARN"]
    engine = BedrockEngine(Settings(store_deadline_ms=10_000), Memory(), times=TIMES)
    assert answered(engine, Bedrock("us", model=HAIKU, secret=name))
    assert keys(bedrock) == ["bearer"]
    with pytest.raises(EngineFailed):
        answered(engine, Bedrock("us", model=HAIKU, secret="bedrock-missing"))


def test_an_access_key_of_a_secret_signs(bedrock: LocalBedrock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "the gateway's own, for others")
    bedrock.do("accept", access_key={"access_key_id": "AKIAOFTHESECRET00000", "secret_access_key": "abc"})
    vault = Vault(bedrock={"access_key_id": "AKIAOFTHESECRET00000", "secret_access_key": "abc"})
    assert answered(sandbox(vault))
    assert keys(bedrock) == ["AKIAOFTHESECRET00000"]


def test_the_secret_may_name_the_region(bedrock: LocalBedrock) -> None:
    own = {"access_key_id": bedrock.access_key_id, "secret_access_key": bedrock.secret_access_key}
    vault = Vault(bedrock=own | {"region": "eu-central-1"})
    assert answered(sandbox(vault), Bedrock("eu", model=HAIKU, secret="bedrock"))
    assert [call["region"] for call in bedrock.calls()] == ["eu-central-1"]


def test_a_secret_is_read_once_for_many_calls(bedrock: LocalBedrock) -> None:
    vault = Vault(bedrock={"bedrock_api_key": bedrock.bearer})
    engine = sandbox(vault)
    for _ in range(3):
        assert answered(engine)
    assert vault.reads == 1


def test_a_key_that_expired_is_replaced_by_the_rotated_one_within_the_call(bedrock: LocalBedrock) -> None:
    vault = Vault(bedrock={"bedrock_api_key": bedrock.bearer})
    engine = sandbox(vault)
    assert answered(engine)
    bedrock.do("expire", key=bedrock.bearer)
    bedrock.do("accept", bearer={"key": "rotated-key"})
    vault.secrets["bedrock"] = {"bedrock_api_key": "rotated-key"}
    assert answered(engine)
    assert answered(engine)
    assert [call["status"] for call in bedrock.calls()] == [200, 403, 200, 200]
    assert vault.reads == 2


def test_a_rotation_may_change_the_kind_of_credential(bedrock: LocalBedrock) -> None:
    vault = Vault(bedrock={"access_key_id": "AKIAGONE000000000000", "secret_access_key": "abc"})
    engine = sandbox(vault)
    with pytest.raises(EngineFailed):
        answered(engine)
    vault.secrets["bedrock"] = {"bedrock_api_key": bedrock.bearer}
    assert answered(engine)
    assert keys(bedrock)[-1] == "bearer"


def test_a_key_that_was_not_rotated_is_not_tried_again(bedrock: LocalBedrock) -> None:
    vault = Vault(bedrock={"bedrock_api_key": "never known"})
    with pytest.raises(EngineFailed, match="refused the gateway's credentials"):
        answered(sandbox(vault))
    assert len(bedrock.calls()) == 1
    assert vault.reads == 2


def test_a_secret_is_read_again_when_it_is_old_and_the_old_key_serves_while_it_cannot_be(
    bedrock: LocalBedrock,
) -> None:
    clocks = Clocks()
    vault = Vault(bedrock={"bedrock_api_key": bedrock.bearer})
    engine = sandbox(vault, clocks=clocks)
    assert answered(engine)
    clocks.wall_ms += SECRET_AGE_MS
    held = vault.secrets.pop("bedrock")
    assert answered(engine)
    assert answered(engine)
    assert vault.reads == 2  # and it is not asked again at once
    vault.secrets = {"bedrock": held}
    clocks.wall_ms += SECRET_AGE_MS
    assert answered(engine)
    assert vault.reads == 3


@pytest.fixture
def sts(bedrock: LocalBedrock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Gives sessions that Bedrock lets in: the first until the year 2101, the next a year longer, and so on."""
    numbers = count(1)

    def assume(_: Request, wire: Wire) -> None:
        number = next(numbers)
        key = {
            "access_key_id": f"ASIASESSION{number:09}",
            "secret_access_key": "of the session",
            "session_token": f"token of session {number}",
        }
        bedrock.do("accept", access_key=key)
        wire.send(whole(_session(2100 + number, **key).encode(), content_type="text/xml"))

    with serving(assume) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.root)
        yield server


ENDS_MS = round(datetime(2101, 1, 1, tzinfo=UTC).timestamp() * 1_000)


def _session(until: int, access_key_id: str, secret_access_key: str, session_token: str) -> str:
    return (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        f"<AccessKeyId>{access_key_id}</AccessKeyId><SecretAccessKey>{secret_access_key}</SecretAccessKey>"
        f"<SessionToken>{session_token}</SessionToken><Expiration>{until}-01-01T00:00:00Z</Expiration>"
        "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )


def test_a_role_is_assumed_and_its_session_renewed_before_it_ends(bedrock: LocalBedrock, sts: Server) -> None:
    clocks = Clocks()
    vault = Vault(bedrock={"access_key_id": "AKIAUSER", "secret_access_key": "abc", "role_arn": ROLE})
    engine = sandbox(vault, clocks=clocks)
    clocks.wall_ms = ENDS_MS - ROLE_MARGIN_MS - 1
    assert answered(engine)
    assert answered(engine)
    clocks.wall_ms += 1
    assert answered(engine)
    assert keys(bedrock) == ["ASIASESSION000000001", "ASIASESSION000000001", "ASIASESSION000000002"]
    asked = sts.requests[0]
    assert b"Action=AssumeRole" in asked.body
    assert "Credential=AKIAUSER/" in asked.headers["authorization"]


def test_a_session_that_is_refused_early_is_replaced(bedrock: LocalBedrock, sts: Server) -> None:
    vault = Vault(bedrock={"access_key_id": "AKIAUSER", "secret_access_key": "abc", "role_arn": ROLE})
    engine = sandbox(vault)
    assert answered(engine)
    bedrock.do("expire", key="ASIASESSION000000001")
    assert answered(engine)
    assert len(sts.requests) == 2


def test_a_model_that_a_role_may_not_call_costs_no_new_session_each_time(bedrock: LocalBedrock, sts: Server) -> None:
    clocks = Clocks()
    vault = Vault(bedrock={"access_key_id": "AKIAUSER", "secret_access_key": "abc", "role_arn": ROLE})
    engine = sandbox(vault, clocks=clocks)
    bedrock.do("fail", operation="Converse", error="AccessDeniedException", times=None)
    for later_ms, sessions in ((0, 1), (YOUNG_MS - 1, 1), (1, 2), (0, 2)):
        clocks.wall_ms += later_ms
        with pytest.raises(EngineFailed):
            answered(engine)
        assert len(sts.requests) == sessions
    vault.secrets["bedrock"] = {"bedrock_api_key": bedrock.bearer}
    with pytest.raises(EngineFailed):
        answered(engine)
    assert keys(bedrock)[-1] == "bearer"  # a secret that was changed counts at once


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"bedrock_api_key": 7}', '{"access_key_id": "A"}', "ABSK-not-json"])
def test_a_secret_without_a_credential_is_a_failed_engine(bedrock: LocalBedrock, text: str) -> None:
    engine = BedrockEngine(Settings(), Memory(), lambda secret: text, Clocks().times)
    with pytest.raises(EngineFailed, match="no credentials"):
        answered(engine)
    assert bedrock.calls() == []


def test_an_api_key_leaves_this_machine_under_tls_only(bedrock: LocalBedrock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://bedrock.example")
    clocks = Clocks()
    with pytest.raises(EngineFailed):
        answered(sandbox(Vault(bedrock={"bedrock_api_key": bedrock.bearer}), clocks=clocks))
    assert clocks.paused_ms == []


def test_no_credential_is_in_any_log_error_or_repr(
    bedrock: LocalBedrock, sts: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = {"access_key_id": "AKIAUSER", "secret_access_key": "hidden-secret", "role_arn": ROLE}
    vault = Vault(
        good={"bedrock_api_key": bedrock.bearer},
        wrong={"bedrock_api_key": "hidden-api-key"},
        role=secret,
        mistyped={"access_key_id": "hidden-id", "secret_access_key": ""},
        broken={"bedrock_api_key": "hidden-\nkey \u2603"},
        unknown={"access_key_id": "AKIAUSER", "secret_access_key": "hidden-secret"},
    )
    engine = sandbox(vault)
    said = [repr(engine), repr(engine.access(OURS)), repr(Credential("hidden-api-key", "", "hidden-secret"))]
    for name in [*vault.secrets, "missing"]:
        try:
            answered(engine, Bedrock("us", model=HAIKU, region="us-east-1", secret=name))
        except Refusal as refusal:
            said += traceback.format_exception(refusal)
    said += [record.getMessage() for record in caplog.records] + [str(record.exc_text) for record in caplog.records]
    everything = "\n".join(said)
    assert [call["status"] for call in bedrock.calls()] == [200, 403, 200, 403]
    for hidden in (
        bedrock.bearer,
        "hidden-",
        "of the session",
        "token of session",
        "token%20of",
        bedrock.secret_access_key,
    ):
        assert hidden not in everything
