"""A key that makes its own successor, as Moto has GovCloud's Secrets Manager and the commercial partition's IAM."""

import json
import logging
import uuid
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from chalicelib.engines.bedrock.credentials import Source
from chalicelib.engines.secrets_manager import Secrets
from chalicelib.settings import Settings
from infra.rotation import rotate
from infra.rotation.rotate import ATTEMPTS, STEPS, CannotRotate, Rotation
from tests.deployment.policies import each
from tests.deployment.stacks import template
from tests.deployment.test_bedrock_access import commercial
from tests.engines.servers import Request, Server, Wire, serving, whole
from tests.stores import Served

GOVCLOUD, COMMERCIAL = "us-gov-west-1", "us-east-1"
ORDER = ("createSecret", "setSecret", "testSecret", "finishSecret")


@pytest.fixture
def cloud(stores: Served, monkeypatch: pytest.MonkeyPatch) -> str:
    url = stores.url("local")
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", GOVCLOUD)  # as Lambda sets it
    return url


class Account:
    """The user in the commercial partition, and the secret in GovCloud that holds their key."""

    def __init__(self, **held: str) -> None:
        self.secrets = _client("secretsmanager", GOVCLOUD)
        self._iam = _client("iam", COMMERCIAL)
        self._name = f"caller-{uuid.uuid4().hex[:12]}"
        self._iam.create_user(UserName=self._name)
        trusted = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
        role = self._iam.create_role(RoleName=self._name, AssumeRolePolicyDocument=json.dumps(trusted))["Role"]["Arn"]
        key = self._iam.create_access_key(UserName=self._name)["AccessKey"]
        self.first = key["AccessKeyId"]
        own = {"access_key_id": self.first, "secret_access_key": key["SecretAccessKey"]}
        text = json.dumps(held or {**own, "role_arn": role, "region": COMMERCIAL})
        self.secret: str = self.secrets.create_secret(Name=self._name, SecretString=text)["ARN"]

    def announce(self) -> str:
        """As Secrets Manager begins a rotation: with a version that has no value yet."""
        current, token = self._current()["VersionId"], str(uuid.uuid4())
        # Moto takes a version that is both for a rotation that still runs, and, having no function to call, makes the
        # empty version the current one.
        if "AWSPENDING" in self._current()["VersionStages"]:
            self._move("AWSPENDING", RemoveFromVersionId=current)
        self.secrets.rotate_secret(SecretId=self.secret, ClientRequestToken=token)
        self._move("AWSCURRENT", RemoveFromVersionId=token, MoveToVersionId=current)
        self._move("AWSPENDING", MoveToVersionId=token)
        return token

    def _move(self, stage: str, **versions: str) -> None:
        self.secrets.update_secret_version_stage(SecretId=self.secret, VersionStage=stage, **versions)

    def _current(self) -> Any:
        return self.secrets.get_secret_value(SecretId=self.secret, VersionStage="AWSCURRENT")

    def rotate(self) -> None:
        token = self.announce()
        for step in ORDER:
            rotate.handler({"SecretId": self.secret, "ClientRequestToken": token, "Step": step}, None)

    def statuses(self) -> dict[str, str]:
        """The user's keys, and whether each is active."""
        listed = self._iam.list_access_keys(UserName=self._name)["AccessKeyMetadata"]
        return {key["AccessKeyId"]: key["Status"] for key in listed}

    def add_key(self) -> str:
        made: str = self._iam.create_access_key(UserName=self._name)["AccessKey"]["AccessKeyId"]
        return made

    def current(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self._current()["SecretString"])
        return found


def _client(service: str, region: str) -> Any:
    return botocore.session.get_session().create_client(service, region_name=region)


@pytest.fixture
def account(cloud: str) -> Account:
    return Account()


def test_the_secret_holds_another_key_afterwards_and_the_one_before_is_disabled(account: Account) -> None:
    before = account.current()
    account.rotate()
    after = account.current()
    assert account.statuses() == {account.first: "Inactive", after["access_key_id"]: "Active"}
    assert after["secret_access_key"] != before["secret_access_key"]
    assert {name: after[name] for name in ("role_arn", "region")} == {
        name: before[name] for name in ("role_arn", "region")
    }


def test_each_rotation_removes_the_key_before_the_last(account: Account) -> None:
    account.rotate()
    second = account.current()["access_key_id"]
    account.rotate()
    third = account.current()["access_key_id"]
    assert account.statuses() == {second: "Inactive", third: "Active"}


def test_the_gateway_reads_what_the_rotation_wrote(account: Account) -> None:
    settings = Settings(region=GOVCLOUD, store_deadline_ms=10_000)
    account.rotate()
    source = Source(account.secret, COMMERCIAL, settings, Secrets(settings), lambda: 0)
    assert source.current().session_token  # the new key has assumed the role


def test_a_step_that_is_repeated_changes_nothing_more(account: Account) -> None:
    token = account.announce()
    for step in (step for step in ORDER for _ in range(2)):
        rotate.handler({"SecretId": account.secret, "ClientRequestToken": token, "Step": step}, None)
    assert account.statuses() == {account.first: "Inactive", account.current()["access_key_id"]: "Active"}


def test_a_rotation_that_died_once_its_key_was_made_leaves_room_for_the_next(account: Account) -> None:
    orphan = account.add_key()
    account.rotate()
    assert orphan not in account.statuses()
    assert account.statuses()[account.first] == "Inactive"


def test_until_the_last_step_the_gateway_has_the_old_key_and_it_works(account: Account) -> None:
    token = account.announce()
    for step in ORDER[:-1]:
        rotate.handler({"SecretId": account.secret, "ClientRequestToken": token, "Step": step}, None)
    assert account.current()["access_key_id"] == account.first
    assert set(account.statuses().values()) == {"Active"}


def test_a_version_that_nobody_announced_is_refused_and_no_key_is_made(account: Account) -> None:
    with pytest.raises(CannotRotate):
        Rotation(account.secret, str(uuid.uuid4())).create()
    assert list(account.statuses()) == [account.first]


@pytest.mark.parametrize("step", ["testSecret", "finishSecret"])
def test_a_step_before_there_is_a_new_key_is_refused(account: Account, step: str) -> None:
    with pytest.raises(CannotRotate):
        STEPS[step](Rotation(account.secret, account.announce()))
    assert account.current()["access_key_id"] == account.first


@pytest.mark.parametrize(
    "held",
    [
        {"bedrock_api_key": "ABSKsecret", "region": COMMERCIAL},
        {"access_key_id": "AKIASECRET", "secret_access_key": "hidden"},
        {"password": "hidden"},
    ],
    ids=["an API key", "no region", "nothing of ours"],
)
def test_what_cannot_make_its_successor_is_refused_without_a_word_of_it(cloud: str, held: dict[str, str]) -> None:
    account = Account(**held)
    with pytest.raises(CannotRotate) as refused:
        account.rotate()
    assert not [value for value in held.values() if value in str(refused.value) and value != COMMERCIAL]
    assert account.current() == held


def test_the_function_and_the_user_use_every_permission_they_have_and_need_no_other(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: set[str] = set()
    session = botocore.session.get_session()
    session.register("before-call", lambda model, **_: called.add(f"{model.service_model.service_name}:{model.name}"))
    monkeypatch.setattr(botocore.session, "get_session", lambda: session)
    account.rotate()
    account.rotate()  # has a key to remove

    (given,) = template("bedrock")["Resources"]["RotateRole"]["Properties"]["Policies"]
    function, user = given["PolicyDocument"]["Statement"], commercial("CallerPolicy")["Statement"]
    allowed = {action for statement in (*function, *user) for action in each(statement["Action"])}
    assert called == {action for action in allowed if not action.startswith("logs:")}


def test_no_key_is_in_any_log(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    before = account.current()["secret_access_key"]
    account.rotate()
    assert before not in caplog.text
    assert account.current()["secret_access_key"] not in caplog.text


@pytest.fixture
def unready(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An STS that does not know the new key yet."""

    def refuse(_: Request, wire: Wire) -> None:
        error = "<Code>InvalidClientTokenId</Code><Message>The security token is invalid.</Message>"
        wire.send(whole(f"<ErrorResponse><Error>{error}</Error></ErrorResponse>".encode(), 403, "text/xml"))

    with serving(refuse) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.root)
        yield server


def test_a_new_key_is_waited_for_until_it_is_known(account: Account, unready: Server) -> None:
    def becomes_known(_: float) -> None:
        unready.handler = lambda _, wire: wire.send(whole(ASSUMED, 200, "text/xml"))

    rotation = Rotation(account.secret, account.announce(), becomes_known)
    rotation.create()
    rotation.test()
    assert [b"AssumeRole" in request.body for request in unready.requests] == [True, True]


def test_a_key_that_never_works_is_not_made_the_current_one(account: Account, unready: Server) -> None:
    pauses: list[float] = []
    rotation = Rotation(account.secret, account.announce(), pauses.append)
    rotation.create()
    with pytest.raises(ClientError):
        rotation.test()
    assert len(pauses) == ATTEMPTS - 1
    assert account.current()["access_key_id"] == account.first


ASSUMED = (
    b'<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
    b"<AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>hidden</SecretAccessKey><SessionToken>t</SessionToken>"
    b"<Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
)
