"""`/oauth2/token` and its neighbours: what a client gets for a code, a refresh token or its secret.

https://docs.aws.amazon.com/cognito/latest/developerguide/token-endpoint.html
"""

import base64
import hashlib
import hmac
import re
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from emulators.clock import Clock
from emulators.cognito import exchange
from emulators.cognito.directory import Directory
from emulators.cognito.exchange import Reply, Request
from emulators.cognito.momentary import Momentary
from emulators.cognito.randomness import Randomness
from emulators.cognito.records import Client
from emulators.cognito.refusal import CognitoError, OAuthError
from emulators.cognito.tokens import Issuer, Tokens

CODE_MS = 300_000
"""How long a code may be exchanged: https://docs.aws.amazon.com/cognito/latest/developerguide/authorization-endpoint.html"""

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636, 4.1


class Code(msgspec.Struct, frozen=True):
    """What stands behind a code: who signed in, and for whom it is."""

    client: str
    redirect_uri: str
    challenge: str
    username: str
    scopes: tuple[str, ...]
    nonce: str
    since_ms: int


class Grants:
    """`codes` are once each, and for five minutes."""

    def __init__(self, directory: Directory, issuer: Issuer, clock: Clock, randomness: Randomness) -> None:
        self._directory = directory
        self._issuer = issuer
        self.codes: Momentary[Code] = Momentary(CODE_MS, clock, randomness.new_secret)
        self._kinds: Mapping[str, Callable[[Client, Mapping[str, str]], Tokens]] = {
            "authorization_code": self._by_code,
            "refresh_token": self._by_refresh,
            "client_credentials": self._by_secret,
        }

    def token(self, asked: Request) -> Reply:
        """Raises OAuthError."""
        form = asked.form
        client = self._client(asked, form)
        kind = self._kinds.get(form.get("grant_type", ""))
        if kind is None:
            raise OAuthError("unsupported_grant_type" if form.get("grant_type") else "invalid_request")
        given = kind(client, form)
        said = {"access_token": given.access, "id_token": given.id, "refresh_token": given.refresh}
        told = {name: text for name, text in said.items() if text}
        return exchange.json({**told, "expires_in": given.expires_s, "token_type": "Bearer"})

    def revoke(self, asked: Request) -> Reply:
        """RFC 7009: a token that is none is as good as revoked. Raises OAuthError."""
        form = asked.form
        client = self._client(asked, form)
        if found := self._issuer.sign_in_of(client, form.get("token", "")):
            self._issuer.revoke(found[1])
        return Reply(200)

    def user_info(self, asked: Request) -> Reply:
        _, _, access = asked.headers.get("authorization", "").partition(" ")
        try:
            user, claims = self._issuer.holder(access)
        except CognitoError as refused:
            return _unauthorized("invalid_token", refused.text)
        if "openid" not in claims["scope"].split():
            return _unauthorized("invalid_token", "Access token does not contain openid scope")
        mail = {"email": user.email, "email_verified": str(user.email_verified).lower()} if user.email else {}
        return exchange.json({"sub": user.sub, **mail, "username": user.username})

    def _by_code(self, client: Client, form: Mapping[str, str]) -> Tokens:
        code = self.codes.take(form.get("code", ""))
        verifier = form.get("code_verifier", "")
        proved = code and _VERIFIER.fullmatch(verifier) and hmac.compare_digest(_challenge(verifier), code.challenge)
        if not code or not proved or (code.client, code.redirect_uri) != (client.id, form.get("redirect_uri")):
            raise OAuthError("invalid_grant")
        user = self._directory.known(self._directory.pool(client.pool), code.username)
        if user is None or not user.enabled:
            raise OAuthError("invalid_grant")
        return self._issuer.begin(client, user, code.scopes, nonce=code.nonce, since_ms=code.since_ms)

    def _by_refresh(self, client: Client, form: Mapping[str, str]) -> Tokens:
        found = self._issuer.sign_in_of(client, form.get("refresh_token", ""))
        if found is None:
            raise OAuthError("invalid_grant")
        return self._issuer.renew(client, *found)

    def _by_secret(self, client: Client, form: Mapping[str, str]) -> Tokens:
        if "client_credentials" not in client.oauth_flows:
            raise OAuthError("unauthorized_client")
        scopes = tuple(form["scope"].split()) if form.get("scope") else client.scopes
        if not set(scopes) <= set(client.scopes):
            raise OAuthError("invalid_scope")
        return self._issuer.for_machine(client, scopes)

    def _client(self, asked: Request, form: Mapping[str, str]) -> Client:
        """Who asks; with its secret, if it has one. Raises OAuthError."""
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        kind, _, encoded = asked.headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (NotBase64, UnicodeDecodeError):
                raise OAuthError("invalid_client") from None
        try:
            client = self._directory.client(name)
        except CognitoError:
            raise OAuthError("invalid_client") from None
        if not hmac.compare_digest(client.secret.encode(), secret.encode()):
            raise OAuthError("invalid_client")
        return client


def _challenge(verifier: str) -> str:
    """RFC 7636, 4.2."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _unauthorized(code: str, why: str) -> Reply:
    said: dict[str, Any] = {"error": code, "error_description": why}
    told = exchange.json(said, 401)
    return Reply(401, (*told.headers, ("www-authenticate", f'Bearer error="{code}"')), told.body)
