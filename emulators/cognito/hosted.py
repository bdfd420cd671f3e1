"""The pages that browsers are sent to: `/oauth2/authorize`, `/login`, `/logout`.

A browser that is signed in holds a cookie for an hour, and is sent on at once. Stricter than Cognito in one thing: a
code is given for an S256 challenge alone, where Cognito leaves that to its clients.

https://docs.aws.amazon.com/cognito/latest/developerguide/authorization-endpoint.html
https://docs.aws.amazon.com/cognito/latest/developerguide/logout-endpoint.html
"""

import hmac
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from emulators.clock import Clock
from emulators.cognito import exchange, pages
from emulators.cognito.credentials import Credentials
from emulators.cognito.directory import Directory
from emulators.cognito.exchange import Reply, Request
from emulators.cognito.grants import Code, Grants
from emulators.cognito.momentary import Momentary
from emulators.cognito.randomness import Randomness
from emulators.cognito.records import HOUR_MS, Client, User
from emulators.cognito.refusal import CognitoError, PageError

SESSION = "cognito"
CSRF = "XSRF-TOKEN"
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class Browser(msgspec.Struct, frozen=True):
    """Who signed in with it, at which pool, and when."""

    pool: str
    username: str
    since_ms: int


class Wish(msgspec.Struct, frozen=True):
    """What a client wants of the person whom it sends here."""

    client: Client
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str
    state: str
    nonce: str
    prompt: str
    hint: str


class NotGranted(Exception):
    """The client is told so, by way of the browser (RFC 6749, 4.1.2.1)."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.told = {"error": code, "error_description": why}


class Hosted:
    def __init__(
        self, directory: Directory, credentials: Credentials, grants: Grants, clock: Clock, randomness: Randomness, *,
        secure: bool,
    ) -> None:  # fmt: skip
        """`secure`: whether browsers come by TLS, and cookies may say so."""
        self._directory = directory
        self._credentials = credentials
        self._grants = grants
        self._clock = clock
        self._new_secret = randomness.new_secret
        self._browsers: Momentary[Browser] = Momentary(HOUR_MS, clock, randomness.new_secret)
        self._attributes = "Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")

    def authorize(self, asked: Request) -> Reply:
        """Raises PageError."""
        client, redirect_uri = self._whither(asked.parameters, "redirect_uri")
        try:
            wish = _wish(client, redirect_uri, asked.parameters)
            user = self._signed_in(asked, client)
            if user is not None and wish.prompt != "login":
                return self._granted(wish, *user)
            if wish.prompt == "none":
                raise NotGranted("login_required", "Nobody is signed in.")
        except NotGranted as refused:
            return exchange.sent_to(redirect_uri, {**refused.told, **_state(asked.parameters)})
        return Reply(302, (("location", f"/login?{asked.query}"),))

    def login(self, asked: Request) -> Reply:
        """The form, and what was written into it. Raises PageError."""
        client, redirect_uri = self._whither(asked.parameters, "redirect_uri")
        try:
            wish = _wish(client, redirect_uri, asked.parameters)
        except NotGranted as refused:
            return exchange.sent_to(redirect_uri, {**refused.told, **_state(asked.parameters)})
        if asked.method != "POST":
            return self._form(asked, wish, pages.Form(mail=wish.hint))
        form = asked.form
        held = asked.cookie(CSRF)
        if not held or not hmac.compare_digest(held.encode(), form.get("_csrf", "").encode()):
            return self._form(asked, wish, pages.Form(mail=form.get("username", ""), wrong="Please try once more."))
        return self._enter(asked, wish, form)

    def logout(self, asked: Request) -> Reply:
        """Raises PageError."""
        _, logout_uri = self._whither(asked.parameters, "logout_uri")
        self._browsers.take(asked.cookie(SESSION))
        return exchange.sent_to(logout_uri, _state(asked.parameters), [self._cookie(SESSION, "", "; Max-Age=0")])

    def _enter(self, asked: Request, wish: Wish, form: Mapping[str, str]) -> Reply:
        name = form.get("username", "")
        try:
            if form.get("session"):
                user = self._credentials.renewed(wish.client, form["session"], form.get("new_password", ""))
            else:
                user = self._credentials.user(wish.client, name, form.get("password", ""))
        except CognitoError as refused:
            again = form.get("session", "") if refused.code == "InvalidPasswordException" else ""
            return self._form(asked, wish, pages.Form(mail=name, wrong=refused.text, session=again), 400)
        if user.temporary:
            return self._form(
                asked, wish, pages.Form(mail=name, session=self._credentials.challenge(wish.client, user))
            )
        now_ms = self._clock()
        secret = self._browsers.keep(Browser(user.pool, user.username, now_ms))
        return self._granted(wish, user, now_ms, [self._cookie(SESSION, secret)])

    def _granted(self, wish: Wish, user: User, since_ms: int, headers: Any = ()) -> Reply:
        given = (wish.challenge, user.username, wish.scopes, wish.nonce, since_ms)
        code = self._grants.codes.keep(Code(wish.client.id, wish.redirect_uri, *given))
        told = {"code": code, **({"state": wish.state} if wish.state else {})}
        return exchange.sent_to(wish.redirect_uri, told, headers)

    def _form(self, asked: Request, wish: Wish, form: pages.Form, status: int = 200) -> Reply:
        csrf = asked.cookie(CSRF) or self._new_secret()
        pool = self._directory.pool(wish.client.pool)
        html = pages.sign_in(form, query=asked.query, csrf=csrf, pool=pool.name)
        return exchange.page(html, status, [self._cookie(CSRF, csrf), *pages.headers(wish.redirect_uri)])

    def _signed_in(self, asked: Request, client: Client) -> tuple[User, int] | None:
        browser = self._browsers.look(asked.cookie(SESSION))
        if browser is None or browser.pool != client.pool:
            return None
        user = self._directory.known(self._directory.pool(client.pool), browser.username)
        return (user, browser.since_ms) if user and user.enabled else None

    def _whither(self, parameters: Mapping[str, str], name: str) -> tuple[Client, str]:
        """The client, and an address of its own. Whoever else is named gets no browser sent by us. Raises PageError."""
        try:
            client = self._directory.client(parameters.get("client_id", ""))
        except CognitoError:
            raise PageError("The page that sent you here names no client that is known: client_id.") from None
        where = parameters.get(name, "")
        if where not in (client.callbacks if name == "redirect_uri" else client.logouts):
            raise PageError(f"The page that sent you here names an address that is not its client's: {name}.")
        return client, where

    def _cookie(self, name: str, value: str, more: str = "") -> exchange.Header:
        return ("set-cookie", f"{name}={value}; {self._attributes}{more}")


def _wish(client: Client, redirect_uri: str, parameters: Mapping[str, str]) -> Wish:
    """Raises NotGranted."""
    if parameters.get("response_type") != "code":
        raise NotGranted("unsupported_response_type", "response_type must be code.")
    if "code" not in client.oauth_flows:
        raise NotGranted("unauthorized_client", "The client may not ask for codes.")
    challenge = parameters.get("code_challenge", "")
    if parameters.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise NotGranted("invalid_request", "code_challenge with code_challenge_method S256 is needed.")
    scopes = tuple(parameters["scope"].split()) if parameters.get("scope") else client.scopes
    if not set(scopes) <= set(client.scopes):
        raise NotGranted("invalid_scope", "A scope is not the client's.")
    said = (parameters.get(name, "") for name in ("state", "nonce", "prompt", "login_hint"))
    return Wish(client, redirect_uri, scopes, challenge, *said)


def _state(parameters: Mapping[str, str]) -> dict[str, str]:
    return {"state": parameters["state"]} if "state" in parameters else {}
