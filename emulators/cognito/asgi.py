"""The local Cognito as an application that stands in front of the other services: which calls are its own.

Everything but stalls is done on one thread, one call after the other, as its rows need it.
"""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from emulators.asgi import Application, Receive, Scope, Send, until_left, whole_body
from emulators.clock import Clock
from emulators.cognito import exchange, keys, pages, passwords
from emulators.cognito.administration import Administration
from emulators.cognito.authentication import Authentication
from emulators.cognito.control import Control, Fail, Rotate, Stall, command_in
from emulators.cognito.credentials import Credentials
from emulators.cognito.directory import Directory
from emulators.cognito.exchange import Reply, Request
from emulators.cognito.grants import Grants
from emulators.cognito.hosted import Hosted
from emulators.cognito.operations import Operations
from emulators.cognito.randomness import BY_CHANCE, Randomness
from emulators.cognito.refusal import CognitoError, OAuthError, PageError
from emulators.cognito.tokens import Issuer
from emulators.dynamodb import Rows

CONTROL = "/_cognito"
_TARGET = "AWSCognitoIdentityProviderService."
_WELL_KNOWN = re.compile(r"/([a-z0-9-]+_[A-Za-z0-9]+)/\.well-known/(openid-configuration|jwks\.json)")
_MOST_BYTES = 200_000


class LocalCognito:
    """An ASGI application. `behind` gets every request that is not Cognito's.

    `url`: where this is served, without a last slash; every issuer's URL begins with it. `account`, `region` and
    `partition` are whose pools these are.
    """

    def __init__(
        self, behind: Application, rows: Rows, *, url: str, account: str, region: str, partition: str, clock: Clock,
        randomness: Randomness = BY_CHANCE, password_cost: int = passwords.COST,
    ) -> None:  # fmt: skip
        self._behind = behind
        self._new_id = randomness.new_id
        self._new_signing_key = randomness.new_signing_key
        self._control = Control()
        self._directory = Directory(rows)
        self._issuer = Issuer(self._directory, url, self._control.twist, clock, randomness)
        self.administration = Administration(
            self._directory, account=account, region=region, partition=partition, clock=clock, randomness=randomness,
            password_cost=password_cost,
        )  # fmt: skip
        """To make pools and clients before anybody calls."""
        credentials = Credentials(self._directory, clock, randomness, password_cost=password_cost)
        grants = Grants(self._directory, self._issuer, clock, randomness)
        hosted = Hosted(self._directory, credentials, grants, clock, randomness, secure=url.startswith("https:"))
        authentication = Authentication(self._directory, credentials, self._issuer, clock)
        self._operations = Operations(authentication, self.administration)
        self._paths: Mapping[str, Mapping[str, Callable[[Request], Reply]]] = {
            "/oauth2/authorize": {"GET": hosted.authorize},
            "/login": {"GET": hosted.login, "POST": hosted.login},
            "/logout": {"GET": hosted.logout},
            "/oauth2/token": {"POST": grants.token},
            "/oauth2/revoke": {"POST": grants.revoke},
            "/oauth2/userInfo": {"GET": grants.user_info, "POST": grants.user_info},
        }
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cognito")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        target = headers.get("x-amz-target", "")
        path = scope.get("path", "")
        what = self._called(path, target)
        if not what and (target or path != CONTROL):
            await self._behind(scope, receive, send)
            return
        body = await whole_body(receive)
        if body is None:
            return
        asked = Request(scope["method"], path, scope["query_string"].decode("latin-1"), headers, body)
        answering = self._answer(asked, what, target) if what else self._obey(asked)
        if reply := await _unless_left(answering, receive):
            await _send(send, reply, self._new_id())

    def _called(self, path: str, target: str) -> str:
        """What faults and the record of calls name it by; empty where it is not ours."""
        if target:
            return target.removeprefix(_TARGET) if target.startswith(_TARGET) else ""
        if found := _WELL_KNOWN.fullmatch(path):
            return "jwks" if found[2] == "jwks.json" else "discovery"
        return path if path in self._paths else ""

    async def _answer(self, asked: Request, what: str, target: str) -> Reply:
        self._control.calls.append(what)
        fault = self._control.fault(what)
        if isinstance(fault, Stall):
            await self._control.stalled(fault)
        if isinstance(fault, Fail):
            return _refused(CognitoError(fault.error, fault.message), fault.status)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, asked, target)

    def _do(self, asked: Request, target: str) -> Reply:
        try:
            if len(asked.body) > _MOST_BYTES:
                raise CognitoError("InvalidParameterException", f"A body has {_MOST_BYTES} bytes at most.")
            if target:
                signed = asked.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256")
                return _api(self._operations.answer(target.removeprefix(_TARGET), asked.body, signed=signed))
            if found := _WELL_KNOWN.fullmatch(asked.path):
                return self._well_known(*found.groups())
            by_method = self._paths[asked.path]
            if asked.method not in by_method:
                return Reply(405, (("allow", ", ".join(by_method)),))
            return by_method[asked.method](asked)
        except CognitoError as refused:
            return _refused(refused)
        except OAuthError as refused:
            return exchange.json({"error": refused.code}, 400)
        except PageError as refused:
            return exchange.page(pages.no_further(refused.text), 400, pages.headers())

    def _well_known(self, pool: str, name: str) -> Reply:
        found = self._directory.pool(pool)
        body = keys.published(found) if name == "jwks.json" else self._discovered(self._issuer.of(found))
        headers = (("content-type", "application/json"), ("cache-control", "public, max-age=86400"))
        return Reply(200, headers, json.dumps(body).encode())

    def _discovered(self, issuer: str) -> dict[str, Any]:
        """As Cognito says it: that it takes S256 challenges is not among it."""
        oauth = f"{self._issuer.url}/oauth2"
        return {
            "authorization_endpoint": f"{oauth}/authorize",
            "end_session_endpoint": f"{self._issuer.url}/logout",
            "id_token_signing_alg_values_supported": [keys.ALGORITHM],
            "issuer": issuer,
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "response_types_supported": ["code", "token"],
            "revocation_endpoint": f"{oauth}/revoke",
            "scopes_supported": ["openid", "email", "phone", "profile"],
            "subject_types_supported": ["public"],
            "token_endpoint": f"{oauth}/token",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "userinfo_endpoint": f"{oauth}/userInfo",
        }

    async def _obey(self, asked: Request) -> Reply:
        try:
            if asked.method == "POST":
                command = command_in(asked.body)
                if isinstance(command, Rotate):
                    await asyncio.get_running_loop().run_in_executor(self._thread, self._rotate, command)
                else:
                    self._control.obey(command)
        except CognitoError as refused:
            return _refused(refused)
        return exchange.json({"calls": list(self._control.calls)})

    def _rotate(self, command: Rotate) -> None:
        pool = self._directory.pool(command.pool)
        self._directory.put(keys.rotated(pool, self._new_signing_key, withdraw=command.withdraw))


async def _unless_left(answering: Coroutine[Any, Any, Reply], receive: Receive) -> Reply | None:
    answer, left = asyncio.create_task(answering), asyncio.create_task(until_left(receive))
    try:
        await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        left.cancel()
        answer.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({answer})


def _api(answer: dict[str, Any]) -> Reply:
    return Reply(200, (("content-type", "application/x-amz-json-1.1"),), json.dumps(answer).encode())


def _refused(refused: CognitoError, status: int = 400) -> Reply:
    said = {"__type": refused.code, "message": refused.text}
    headers = (("content-type", "application/x-amz-json-1.1"), ("x-amzn-errortype", f"{refused.code}:"))
    return Reply(status, headers, json.dumps(said).encode())


async def _send(send: Send, reply: Reply, request_id: str) -> None:
    named = (*reply.headers, ("x-amzn-requestid", request_id), ("content-length", str(len(reply.body))))
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
