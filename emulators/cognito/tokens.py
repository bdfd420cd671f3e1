"""What a pool says of people and machines, in tokens: their claims are Cognito's, and so is what they lack.

An access token has no `aud`: it names its client as `client_id`. An ID token has `aud`, and no scopes.
https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-with-identity-providers.html
"""

import base64
from collections.abc import Callable
from itertools import islice
from typing import Any

import msgspec

from emulators.clock import Clock
from emulators.cognito import keys
from emulators.cognito.directory import Directory
from emulators.cognito.randomness import Randomness
from emulators.cognito.records import Client, Pool, SignedIn, User, digest
from emulators.cognito.refusal import CognitoError, not_authorized

Claims = dict[str, Any]
Twist = Callable[[Claims], Claims]
"""What a test has commanded to be wrong with a token's claims."""
API_SCOPE = "aws.cognito.signin.user.admin"
"""Of tokens that the JSON API has given, and that it takes."""

_MOST_SIGN_INS = 100  # of one person at a time; the oldest ends


class Tokens(msgspec.Struct, frozen=True):
    """What somebody is given. `id` is empty where nobody asked for it, `refresh` where it is the one they have."""

    access: str
    expires_s: int
    id: str = ""
    refresh: str = ""


class Issuer:
    """`url`: where this is served, without a last slash; each pool's issuer is a path under it."""

    def __init__(self, directory: Directory, url: str, twist: Twist, clock: Clock, randomness: Randomness) -> None:
        self._directory = directory
        self.url = url
        self._twist = twist
        self._clock = clock
        self._new_id = randomness.new_id
        self._new_secret = randomness.new_secret

    def of(self, pool: Pool) -> str:
        """The `iss` of its tokens."""
        return f"{self.url}/{pool.id}"

    def begin(self, client: Client, user: User, scopes: tuple[str, ...], *, since_ms: int, nonce: str = "") -> Tokens:
        """A sign-in, which lasts until it is revoked, or its refresh token's time is over.

        `since_ms`: when the person proved who they are.
        """
        now_ms = self._clock()
        self._forget(user, now_ms)
        secret = self._new_secret()
        sign_in = SignedIn(
            pool=user.pool,
            username=user.username,
            origin_jti=self._new_id(),
            client=client.id,
            scopes=scopes,
            since_ms=since_ms,
            expires_ms=now_ms + client.refresh_ms,
            digest=digest(secret),
        )
        self._directory.put(sign_in)
        given = self.renew(client, user, sign_in, nonce=nonce)
        return msgspec.structs.replace(given, refresh=f"{user.username}/{sign_in.origin_jti}/{secret}")

    def renew(self, client: Client, user: User, sign_in: SignedIn, *, nonce: str = "") -> Tokens:
        pool = self._directory.pool(user.pool)
        shared = {
            "sub": user.sub,
            **({"cognito:groups": list(user.groups)} if user.groups else {}),
            "iss": self.of(pool),
            "origin_jti": sign_in.origin_jti,
            "event_id": self._new_id(),
            "auth_time": sign_in.since_ms // 1_000,
        }
        access = {"client_id": client.id, "token_use": "access", "scope": " ".join(sign_in.scopes)}
        names = {"username": user.username}
        said = self._signed(pool, client.access_ms, {**shared, "version": 2, **access, **names})
        about = ""
        if "openid" in sign_in.scopes or API_SCOPE in sign_in.scopes:
            own = {"aud": client.id, "token_use": "id", "cognito:username": user.username}
            mail = {"email": user.email, "email_verified": user.email_verified} if user.email else {}
            asked = {"nonce": nonce} if nonce else {}
            about = self._signed(pool, client.id_ms, {**shared, **own, **mail, **asked})
        return Tokens(said, client.access_ms // 1_000, about)

    def for_machine(self, client: Client, scopes: tuple[str, ...]) -> Tokens:
        pool = self._directory.pool(client.pool)
        claims = {
            "sub": client.id,
            "token_use": "access",
            "scope": " ".join(scopes),
            "auth_time": self._clock() // 1_000,
            "iss": self.of(pool),
            "version": 2,
            "client_id": client.id,
        }
        return Tokens(self._signed(pool, client.access_ms, claims), client.access_ms // 1_000)

    def sign_in_of(self, client: Client, refresh: str) -> tuple[User, SignedIn] | None:
        """Whose refresh token of this client this is; None where it is none, or none any more."""
        username, _, rest = refresh.partition("/")
        origin_jti, _, secret = rest.partition("/")
        found = self._directory.signed_in(client.pool, username, origin_jti)
        good = found and found.client == client.id and found.digest == digest(secret)
        if not found or not good or found.expires_ms <= self._clock():
            return None
        user = self._directory.known(self._directory.pool(client.pool), username)
        return (user, found) if user and user.enabled else None

    def revoke(self, sign_in: SignedIn) -> None:
        self._directory.delete(sign_in)

    def holder(self, access: str) -> tuple[User, Claims]:
        """Whose access token this is, for what Cognito itself answers them. Raises CognitoError."""
        wrong = not_authorized("Invalid Access Token")
        try:
            pool = self._directory.pool(_pool_named_in(access))
        except CognitoError:
            raise wrong from None
        claims = keys.verified(pool, access)
        if claims is None or claims.get("token_use") != "access" or "username" not in claims:
            raise wrong
        if claims["exp"] * 1_000 <= self._clock():
            raise not_authorized("Access Token has expired")
        if self._directory.signed_in(pool.id, claims["username"], claims["origin_jti"]) is None:
            raise not_authorized("Access Token has been revoked")
        return self._directory.user(pool, claims["username"]), claims

    def _signed(self, pool: Pool, lasts_ms: int, claims: Claims) -> str:
        now_s = self._clock() // 1_000
        dated = {**claims, "exp": now_s + lasts_ms // 1_000, "iat": now_s, "jti": self._new_id()}
        key = pool.signs_id if claims["token_use"] == "id" else pool.signs_access
        return keys.sign(key, self._twist(dated))

    def _forget(self, user: User, now_ms: int) -> None:
        sign_ins = sorted(self._directory.sign_ins(user), key=lambda each: -each.since_ms)
        over = [each for each in sign_ins if each.expires_ms <= now_ms]
        for each in (*over, *islice(sign_ins, _MOST_SIGN_INS - 1, None)):
            self._directory.delete(each)


def _pool_named_in(token: str) -> str:
    """By the issuer that a token claims, which is believed of nothing but this."""
    try:
        payload = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=Claims)
        return str(claims["iss"]).rpartition("/")[2]
    except (IndexError, ValueError, KeyError):
        return ""
