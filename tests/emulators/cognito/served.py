"""The local Cognito in a thread, at a time that the test sets; botocore's unmodified clients of it, and a browser."""

import asyncio
import base64
import hashlib
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import botocore.session
import httpx
import pytest
import uvicorn
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from emulators.asgi import Receive, Scope, Send
from emulators.clock import now_ms
from emulators.cognito import LocalCognito, keys
from emulators.cognito.randomness import Randomness
from emulators.dynamodb import Rows
from emulators.sockets import listen, url
from tests import rsa_keys
from tests.patience import PATIENCE_S
from tests.prompt_server import PromptServer

REGION = "us-east-1"
BACK = "http://127.0.0.1:8000/signin/callback"
OUT = "http://127.0.0.1:8000/"
MAIL, PASSWORD = "ada@acme.example", "Right-1234"
VERIFIER = "a-verifier-of-at-least-forty-three-characters-"


class Clock:
    """At the time of this machine, until it is moved on."""

    def __init__(self) -> None:
        self._ahead_ms = 0

    def __call__(self) -> int:
        return now_ms() + self._ahead_ms

    def advance(self, by_ms: int) -> None:
        self._ahead_ms += by_ms


class Served:
    def __init__(self, where: str, clock: Clock) -> None:
        self.url = where
        self.clock = clock
        session = botocore.session.Session()
        once = {"total_max_attempts": 1}
        made = {"region_name": REGION, "endpoint_url": where}
        keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "secret"}
        self.operator = session.create_client("cognito-idp", config=Config(retries=once), **made, **keys)
        unsigned = Config(retries=once, signature_version=UNSIGNED)
        self.anybody = session.create_client("cognito-idp", config=unsigned, **made)

    def command(self, do: str, **members: Any) -> None:
        answer = httpx.post(f"{self.url}/_cognito", json={"do": do, **members}, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text

    def calls(self) -> list[str]:
        found: list[str] = httpx.get(f"{self.url}/_cognito", timeout=PATIENCE_S).json()["calls"]
        return found

    def browser(self) -> httpx.Client:
        """It keeps cookies, and goes where it is sent only when it is told to."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE_S)


class UserPool:
    """A user pool of its own, in which Ada is; with a client of browsers, one of programs and one of machines."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._of = served.operator
        self.id: str = self._of.create_user_pool(PoolName=uuid.uuid4().hex, UsernameAttributes=["email"])["UserPool"][
            "Id"
        ]
        self.issuer = f"{served.url}/{self.id}"
        scope = {"ScopeName": "api", "ScopeDescription": "Call the API"}
        self._of.create_resource_server(UserPoolId=self.id, Identifier="cloister", Name="Cloister", Scopes=[scope])
        self.web = self.client(
            AllowedOAuthFlows=["code"],
            AllowedOAuthScopes=["openid", "email", "profile"],
            CallbackURLs=[BACK],
            LogoutURLs=[OUT],
            PreventUserExistenceErrors="ENABLED",
        )["ClientId"]
        flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
        self.programs = self.client(ExplicitAuthFlows=flows, PreventUserExistenceErrors="ENABLED")["ClientId"]
        self.ada = self.person(MAIL, PASSWORD)

    def client(self, **settings: Any) -> dict[str, Any]:
        settings = {"AllowedOAuthFlowsUserPoolClient": True, **settings}
        made = self._of.create_user_pool_client(UserPoolId=self.id, ClientName=uuid.uuid4().hex, **settings)
        client: dict[str, Any] = made["UserPoolClient"]
        return client

    def machine(self) -> dict[str, Any]:
        scopes = ["cloister/api"]
        return self.client(GenerateSecret=True, AllowedOAuthFlows=["client_credentials"], AllowedOAuthScopes=scopes)

    def person(self, mail: str, password: str) -> str:
        """Their `sub`."""
        verified = [{"Name": "email", "Value": mail}, {"Name": "email_verified", "Value": "true"}]
        made = self._of.admin_create_user(UserPoolId=self.id, Username=mail, UserAttributes=verified)
        self._of.admin_set_user_password(UserPoolId=self.id, Username=mail, Password=password, Permanent=True)
        return str(made["User"]["Username"])

    def enter(self, mail: str = MAIL, password: str = PASSWORD, client: str = "") -> dict[str, Any]:
        given = {"USERNAME": mail, "PASSWORD": password}
        asked = {"AuthFlow": "USER_PASSWORD_AUTH", "ClientId": client or self.programs, "AuthParameters": given}
        answer: dict[str, Any] = self.served.anybody.initiate_auth(**asked)
        return answer

    def tokens(self, **asked: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.enter(**asked)["AuthenticationResult"]
        return found

    def claims(self, token: str) -> dict[str, Any]:
        """As a verifier finds them, by the keys that are published. Raises JoseError where none of these has signed."""
        published = httpx.get(f"{self.issuer}/.well-known/jwks.json", timeout=PATIENCE_S).json()
        return dict(jwt.decode(token, KeySet.import_key_set(published), algorithms=["RS256"]).claims)

    def asking(self, **other: str) -> dict[str, str]:
        """What a client sends a browser to /oauth2/authorize with."""
        asked = {"response_type": "code", "client_id": self.web, "redirect_uri": BACK, "state": "a-state"}
        proof = {"code_challenge": challenge(VERIFIER), "code_challenge_method": "S256"}
        return {**asked, "scope": "openid email", "nonce": "a-nonce", **proof, **other}

    def code(self, browser: httpx.Client, **other: str) -> str:
        """As Ada gets it, on the page."""
        return came_back(sign_in(browser, self.asking(**other)))["code"]

    def exchange(self, code: str, **other: str) -> httpx.Response:
        form = {"grant_type": "authorization_code", "client_id": self.web, "code": code, "redirect_uri": BACK}
        return self.post("/oauth2/token", {**form, "code_verifier": VERIFIER, **other})

    def post(self, path: str, form: dict[str, str], **members: Any) -> httpx.Response:
        return httpx.post(f"{self.served.url}{path}", data=form, timeout=PATIENCE_S, **members)


def sign_in(
    browser: httpx.Client, asking: dict[str, str], mail: str = MAIL, password: str = PASSWORD
) -> httpx.Response:
    """What the page answers to what is written into it."""
    page = browser.get("/oauth2/authorize", params=asking, follow_redirects=True)
    return fill(browser, page, username=mail, password=password)


def fill(browser: httpx.Client, page: httpx.Response, **written: str) -> httpx.Response:
    """Send the form of this page, as a browser does."""
    hidden = re.findall(r'type="hidden" name="(\w+)"[^>]* value="([^"]*)"', page.text)
    (action,) = re.findall(r'<form method="post" action="([^"]*)"', page.text)
    return browser.post(unescape(action), data={name: unescape(value) for name, value in hidden} | written)


def came_back(answer: httpx.Response) -> dict[str, str]:
    """With what a browser is sent back to the client."""
    where = answer.headers["location"]
    assert where.startswith(BACK + "?"), where
    return {name: value for name, (value,) in parse_qs(urlsplit(where).query).items()}


def challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@contextmanager
def refused(code: str, text: str = "") -> Iterator[None]:
    with pytest.raises(ClientError) as error:
        yield
    told = error.value.response["Error"]
    assert told["Code"] == code, told
    assert text in told["Message"], told


async def _nothing(scope: Scope, _: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def served(kept: Path | None = None) -> Iterator[Served]:
    """With `kept`, what is in its pools is found by the next one that is served from this file."""
    listening, clock, rows = listen(0), Clock(), Rows(kept)
    application = LocalCognito(
        _nothing, rows, url=url(listening), account="123456789012", region=REGION, partition="aws", clock=clock,
        randomness=Randomness(new_signing_key=lambda: keys.named(RSAKey.import_key(rsa_keys.another()))),
        password_cost=2,
    )  # fmt: skip
    server = PromptServer(uvicorn.Config(application, lifespan="off", ws="none", log_level="error", access_log=False))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    try:
        assert server.up.wait(PATIENCE_S), "the server did not start"
        yield Served(url(listening), clock)
    finally:
        server.stop()
        thread.join(PATIENCE_S)
        rows.close()
