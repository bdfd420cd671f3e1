"""A mail address and a password give a token of the issuer, and whoever has none of them learns nothing."""

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.identity.claims import verified_mail
from chalicelib.journal import Journal
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.passwords import NOT_SIGNED_IN, Passwords
from chalicelib.passwords.attempts import OF_AN_ACCOUNT, OF_AN_ADDRESS
from chalicelib.passwords.cognito import Cognito
from chalicelib.passwords.memory import MemoryAttempts
from chalicelib.settings import BadSettings, Settings, read
from chalicelib.sight.lines import Lines
from chalicelib.tenancy import PLATFORM_TENANT
from chalicelib.tenancy.tenant import Issuer, Tenant
from emulators.clock import now_ms
from tests.api.test_events import Refusing, events, texts
from tests.emulators.cognito.served import MAIL, PASSWORD, Served, UserPool, served
from tests.small_deployments import Answer, Deployment, Gateway

CHAT = {"model": "model-a", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def cognito() -> Iterator[Served]:
    with served() as running:
        yield running


class Scene:
    """`acme`, whose operator's issuer is a user pool in which Ada is, and a gateway that signs her in."""

    def __init__(self, gateway: Gateway, pool: UserPool) -> None:
        self.gateway = gateway
        self.pool = pool
        self.deployment = Deployment()
        self.deployment.clock.now_ms = now_ms()  # the pool's tokens are of now
        self.deployment.issuers = (Issuer(pool.issuer, client_ids=(pool.programs,)),)
        self.deployment.callable_origins = (pool.served.url,)
        self.deployment.tenancy.create_tenant(Tenant(id=PLATFORM_TENANT, name="The operator"))
        self.deployment.pool()
        self.deployment.tenant("acme")
        self.attempts = MemoryAttempts()

    def rooms(self, client_id: str = "", log: MemoryLedger | None = None) -> wiring.Rooms:
        path = self.deployment.path()
        settings = Settings(issuer=self.pool.issuer, signin_client_id=client_id or self.pool.programs)
        issuer = Cognito(settings, Lines(), path.clock)
        rooms = self.deployment.rooms(path)
        passwords = Passwords(issuer, self.attempts, path.verified, rooms.tenancy.people, path.clock)
        journal = Journal(log, path.clock, self.deployment.chance) if log else rooms.journal
        return msgspec.structs.replace(rooms, journal=journal, passwords=lambda: passwords)

    def signs_in(self, mail: str = MAIL, password: str = PASSWORD, **more: Any) -> Answer:
        return self.asks({"email": mail, "password": password, **more})

    def asks(self, body: Any) -> Answer:
        return self.gateway.call("POST", "/signin/token", json=body, headers={"X-Request-ID": "fixed"})


@pytest.fixture
def scene(gateway: Gateway, cognito: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    cognito.command("reset")
    monkeypatch.setenv("AWS_ENDPOINT_URL", cognito.url)
    scene = Scene(gateway, UserPool(cognito))
    with wiring.opening_into(scene.rooms()):
        yield scene


def test_whoever_signs_in_gets_a_token_and_joins_where_they_were_invited(scene: Scene) -> None:
    scene.deployment.tenancy.people.put("acme", MAIL, "developer")
    answer = scene.signs_in()
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    assert set(answer.json) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 3_600)
    chat = scene.gateway.call("POST", "/tenants/acme/v1/chat/completions", key=answer.json["access_token"], json=CHAT)
    assert chat.status == 200, chat.body


def test_a_sign_in_stands_in_the_log_of_each_tenant_of_theirs_with_the_attempts_before_it(scene: Scene) -> None:
    scene.deployment.tenant("bolt")
    scene.deployment.tenant("cora")
    for tenant in ("acme", "bolt"):
        scene.deployment.tenancy.people.put(tenant, MAIL, "viewer")
    first = scene.signs_in().json
    assert scene.signs_in(password="Wrong-1234").status == 401
    scene.asks({"refresh_token": first["refresh_token"]})
    scene.deployment.clock.now_ms += 1
    scene.signs_in()
    for tenant in ("acme", "bolt"):
        said = events(scene.gateway, scene.deployment.key(tenant), tenant)
        assert len(said) == 3
        assert said[0]["reason"] == "attempt 3 for this account in a quarter of an hour"
        assert {(each["action"], each["status"], each["reason"]) for each in said[1:]} == {
            ("join_tenant", 200, ""), ("sign_in", 200, ""),
        }  # fmt: skip
        assert {(each["who"]["subject"], each["who"]["proof"]) for each in said} == {(f"member:{MAIL}", "password")}
        assert {each["who"]["source_ip"] for each in said} == {"127.0.0.1"}
    assert texts(scene.deployment, "cora") == []
    kept = "".join(texts(scene.deployment, "acme"))
    assert PASSWORD not in kept and "eyJ" not in kept and first["refresh_token"] not in kept


def test_nobody_is_given_a_token_whose_sign_in_cannot_be_written(scene: Scene) -> None:
    scene.deployment.tenancy.people.put("acme", MAIL, "viewer")
    scene.signs_in()
    with wiring.opening_into(scene.rooms(log=Refusing(0))):
        answer = scene.signs_in()
    assert answer.status == 503 and b"eyJ" not in answer.body


def test_a_refresh_token_gives_another_token(scene: Scene) -> None:
    first = scene.signs_in().json
    second = scene.asks({"refresh_token": first["refresh_token"]})
    assert second.status == 200, second.body
    assert second.json["access_token"] != first["access_token"] and second.json["refresh_token"]
    assert scene.asks({"refresh_token": "unknown"}).status == 401
    assert [scene.asks({"refresh_token": "x" * letters}).status for letters in (8_192, 8_193, 10_240)] == [
        401,
        400,
        413,
    ]


def test_every_failure_is_one_answer(scene: Scene) -> None:
    made = scene.pool.served.operator
    whoever = {name: f"{name}-{uuid.uuid4().hex}@acme.example" for name in ("disabled", "temporary", "unconfirmed")}
    for name, mail in whoever.items():
        made.admin_create_user(UserPoolId=scene.pool.id, Username=mail, MessageAction="SUPPRESS")
        made.admin_set_user_password(
            UserPoolId=scene.pool.id, Username=mail, Password=PASSWORD, Permanent=name != "temporary"
        )
    made.admin_disable_user(UserPoolId=scene.pool.id, Username=whoever["disabled"])
    answers = [scene.signs_in(whoever["disabled"]), scene.signs_in(whoever["temporary"])]
    answers += [scene.signs_in(password="Wrong-1234"), scene.signs_in("nobody@acme.example")]
    for code in ("UserNotFoundException", "UserNotConfirmedException", "PasswordResetRequiredException"):
        scene.pool.served.command("fail", what="InitiateAuth", error=code, status=400, times=1)
        answers.append(scene.signs_in())
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].json["detail"] == NOT_SIGNED_IN


def test_too_many_attempts_are_refused_before_cognito_is_asked_and_whether_the_account_is_there_or_not(
    scene: Scene,
) -> None:
    refused = []
    for mail in (MAIL, "nobody@acme.example"):
        for _ in range(OF_AN_ACCOUNT):
            assert scene.signs_in(mail, "Wrong-1234").status == 401
        before = len(scene.pool.served.calls())
        refused.append(scene.signs_in(mail))
        assert len(scene.pool.served.calls()) == before
    assert {answer.status for answer in refused} == {429}
    assert len({answer.body for answer in refused}) == 1
    assert int(refused[0].headers["retry-after"]) > 0


def test_an_address_that_tries_many_accounts_is_refused(scene: Scene) -> None:
    answers = [scene.asks({"refresh_token": "unknown"}).status for _ in range(OF_AN_ADDRESS + 1)]
    assert answers == [401] * OF_AN_ADDRESS + [429]


def test_where_cognito_fails_it_is_nobodys_password(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    scene.pool.served.command("fail", what="InitiateAuth", error="InternalErrorException", status=500, times=1)
    assert scene.signs_in().status == 503
    with wiring.opening_into(scene.rooms("nobodys-client")):
        assert scene.signs_in().status == 503
    out = capsys.readouterr().out
    assert out.count('"SignInBroken":1') == 2
    assert PASSWORD not in out and MAIL not in out


def test_nobody_is_given_a_token_that_is_not_taken_here(scene: Scene) -> None:
    scene.deployment.issuers = (Issuer(scene.pool.issuer, client_ids=("another",)),)
    with wiring.opening_into(scene.rooms()):
        assert scene.signs_in().status == 503


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": MAIL},
        {"password": PASSWORD},
        {"email": MAIL, "password": PASSWORD, "refresh_token": "x"},
        {"email": "no address", "password": PASSWORD},
        {"email": MAIL, "password": ""},
        {"email": MAIL, "password": f"{PASSWORD}{'x' * 256}"},
        {"email": MAIL, "password": [PASSWORD]},
        {"email": MAIL, "password": PASSWORD, PASSWORD: 1},
    ],
)
def test_what_is_malformed_is_refused_and_no_password_is_repeated(scene: Scene, body: dict[str, Any]) -> None:
    answer = scene.asks(body)
    assert answer.status == 400
    assert PASSWORD.encode() not in answer.body or PASSWORD in body  # a member's name is told
    assert "InitiateAuth" not in scene.pool.served.calls()


def test_where_the_deployment_has_no_client_for_it_nobody_signs_in(gateway: Gateway, deployment: Deployment) -> None:
    answer = gateway.call("POST", "/signin/token", json={"email": MAIL, "password": PASSWORD})
    assert answer.status == 404


def test_only_a_verified_address_is_one() -> None:
    assert verified_mail("no token") is verified_mail("a.b.c") is verified_mail("") is verified_mail("e.e30.s") is None
    assert verified_mail("e.eyJlbWFpbCI6ImFAYi5jIn0.s") is None  # {"email":"a@b.c"}
    assert verified_mail("e.eyJlbWFpbCI6ImFAYi5jIiwiZW1haWxfdmVyaWZpZWQiOnRydWV9.s") == "a@b.c"


@pytest.mark.parametrize(
    "name", ["signin", "token", "terminal", "tenants", "admin", "inference", "health", "docs", "v1"]
)
def test_no_tenant_is_called_as_a_path_of_ours(gateway: Gateway, deployment: Deployment, name: str) -> None:
    key = deployment.key(PLATFORM_TENANT)
    answer = gateway.call("POST", "/admin/tenants", key=key, json={"id": name, "name": "Odd"})
    assert (answer.status, answer.json["field"]) == (400, "id")


def test_a_client_that_nobody_takes_tokens_of_is_found_at_the_start() -> None:
    pool = {"CLOISTER_ISSUER": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc"}
    ids = {"CLOISTER_ISSUER_CLIENT_IDS": "web,password"}
    assert read({**pool, **ids, "CLOISTER_SIGNIN_CLIENT_ID": "password"}).signin_client_id == "password"
    for wrong in ({**pool, **ids}, {"CLOISTER_ISSUER": "https://login.example.com", **ids}, {}):
        with pytest.raises(BadSettings, match="CLOISTER_SIGNIN_CLIENT_ID"):
            read({**wrong, "CLOISTER_SIGNIN_CLIENT_ID": "other"})
