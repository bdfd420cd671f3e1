"""From a browser that wants to sign in to who somebody is. What is wrong on the way, nobody is told."""

import threading
from collections.abc import Callable
from urllib.parse import urlencode

import msgspec

from chalicelib.egress import Egress, NotCallable
from chalicelib.http1.failure import Failed
from chalicelib.identity.claims import Identity
from chalicelib.identity.signin.attempt import Attempt
from chalicelib.identity.signin.endpoints import KnownEndpoints
from chalicelib.identity.tokens.verified import Tokens
from chalicelib.refusal import NoCapacity, Unauthenticated
from chalicelib.tenancy.tenant import Issuer

CALLBACK = "/signin/callback"
MOST_BYTES = 65_536
LONGEST_CODE = 2_048
AT_ONCE = 16
"""Exchanges: anybody may come with a made-up code, and each is a call of the issuer."""
BUSY_MS = 1_000


class _Exchanged(msgspec.Struct):
    id_token: str


class SignIn:
    """At one issuer, by one client of it: public, for what we keep secret is PKCE's. Thread-safe."""

    def __init__(
        self, issuer: Issuer, client_id: str, public_url: str, egress: Egress, tokens: Callable[[], Tokens]
    ) -> None:
        """`public_url`: ours, below which browsers come back."""
        self._issuer = issuer
        self._client_id = client_id
        self._public_url = public_url
        self._egress = egress
        self._tokens = tokens
        self._endpoints = KnownEndpoints(issuer.url, egress)
        self._room = threading.BoundedSemaphore(AT_ONCE)

    def page(self, attempt: Attempt, now_ms: int) -> str:
        """Where a browser is sent to sign in. Raises NoCapacity."""
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._public_url + CALLBACK,
            "scope": "openid email",
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        return _with(self._endpoints(now_ms).authorization_endpoint, asked)

    def out(self, now_ms: int) -> str:
        """Where a browser signs out at the issuer, too; empty where that has no such page. Raises NoCapacity."""
        back = f"{self._public_url}/"
        # Cognito's name for where to go on, and OpenID Connect's (RP-Initiated Logout, section 2).
        asked = {"client_id": self._client_id, "logout_uri": back, "post_logout_redirect_uri": back}
        where = self._endpoints(now_ms).end_session_endpoint
        return _with(where, asked) if where else ""

    def identity(self, attempt: Attempt, code: str, now_ms: int) -> Identity:
        """Whom this code is of. Raises Unauthenticated; NoCapacity where the issuer cannot be asked."""
        if not 0 < len(code) <= LONGEST_CODE:
            raise Unauthenticated
        text = self._id_token(attempt, code, self._endpoints(now_ms).token_endpoint)
        return self._tokens().signed_in(text, self._issuer, self._client_id, attempt.nonce, now_ms)

    def _id_token(self, attempt: Attempt, code: str, where: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "client_id": self._client_id,
            "code": code,
            "redirect_uri": self._public_url + CALLBACK,
            "code_verifier": attempt.verifier,
        }
        if not self._room.acquire(blocking=False):
            raise NoCapacity("Too many sign in at once. Try again shortly.", retry_in_ms=BUSY_MS)
        try:
            fetched = self._egress.post(where, form, limit_bytes=MOST_BYTES)
        except (NotCallable, Failed):
            raise NoCapacity("The identity provider does not answer. Try again shortly.", retry_in_ms=BUSY_MS) from None
        finally:
            self._room.release()
        if fetched.status >= 500:
            raise NoCapacity("The identity provider failed. Try again shortly.", retry_in_ms=BUSY_MS)
        try:
            return msgspec.json.decode(fetched.body, type=_Exchanged).id_token
        except msgspec.MsgspecError:
            raise Unauthenticated from None


def _with(url: str, asked: dict[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}"
