"""What a user pool holds, as values. Times are ms since 1970."""

import hashlib

import msgspec

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class PasswordPolicy(msgspec.Struct, frozen=True, rename="pascal"):
    """What Cognito asks of a password where a pool says nothing."""

    minimum_length: int = 8
    require_uppercase: bool = True
    require_lowercase: bool = True
    require_numbers: bool = True
    require_symbols: bool = True


class SigningKey(msgspec.Struct, frozen=True):
    kid: str
    pem: str


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    arn: str
    created_ms: int
    mail_is_username: bool
    """People sign in by their mail address, and what Cognito calls their username is their `sub`."""
    policy: PasswordPolicy = PasswordPolicy()
    signs_id: SigningKey
    signs_access: SigningKey
    retired: tuple[SigningKey, ...] = ()
    """They sign nothing any more, and verify what they have signed."""


class Client(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    pool: str
    name: str
    created_ms: int
    secret: str = ""
    """Empty: a public client."""
    auth_flows: frozenset[str] = frozenset()
    """Of the JSON API: ALLOW_USER_PASSWORD_AUTH, ALLOW_REFRESH_TOKEN_AUTH."""
    oauth_flows: frozenset[str] = frozenset()
    """`code` or `client_credentials`."""
    scopes: tuple[str, ...] = ()
    callbacks: tuple[str, ...] = ()
    logouts: tuple[str, ...] = ()
    hides_users: bool = False
    """Whoever is not known is told what somebody with a wrong password is told."""
    access_ms: int = HOUR_MS
    id_ms: int = HOUR_MS
    refresh_ms: int = 30 * DAY_MS


class ResourceServer(msgspec.Struct, frozen=True):
    pool: str
    identifier: str
    name: str
    scopes: tuple[tuple[str, str], ...]
    """(name, description)"""


class Group(msgspec.Struct, frozen=True):
    pool: str
    name: str
    description: str
    created_ms: int


class User(msgspec.Struct, frozen=True, kw_only=True):
    pool: str
    username: str
    sub: str
    password: str
    """As `passwords.hashed` has written it; empty where there is none."""
    temporary: bool
    """They must set another password before they get a token."""
    created_ms: int
    modified_ms: int
    email: str = ""
    email_verified: bool = False
    enabled: bool = True
    groups: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        return "FORCE_CHANGE_PASSWORD" if self.temporary else "CONFIRMED"


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """One sign-in of a user at a client: as long as it is there its refresh token is good. `origin_jti` names it."""

    pool: str
    username: str
    origin_jti: str
    client: str
    scopes: tuple[str, ...]
    since_ms: int
    expires_ms: int
    digest: str
    """Of the refresh token."""


def digest(secret: str) -> str:
    """What is kept of a secret that is long and random."""
    return hashlib.sha256(secret.encode()).hexdigest()
