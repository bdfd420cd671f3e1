"""A pool's signing keys. As Cognito does it, a pool has two: one signs ID tokens, the other access tokens."""

import base64
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from msgspec.structs import replace

from emulators.cognito.records import Pool, SigningKey

ALGORITHM = "RS256"
_BITS = 2048
_MOST_RETIRED = 4


def made() -> SigningKey:
    return named(RSAKey.generate_key(_BITS))


def named(key: RSAKey) -> SigningKey:
    """As a pool keeps it, under a name of its own."""
    return SigningKey(base64.b64encode(os.urandom(32)).decode(), key.as_pem(private=True).decode())


def rotated(pool: Pool, new: Callable[[], SigningKey], *, withdraw: bool) -> Pool:
    """The pool with two new keys. The old ones stay published unless they are withdrawn, as after a leak."""
    former = () if withdraw else (pool.signs_id, pool.signs_access, *pool.retired)[:_MOST_RETIRED]
    return replace(pool, signs_id=new(), signs_access=new(), retired=former)


def published(pool: Pool) -> dict[str, Any]:
    """`jwks.json`: public halves alone."""
    keys = (pool.signs_id, pool.signs_access, *pool.retired)
    return {"keys": [_public(key) for key in keys]}


def sign(key: SigningKey, claims: dict[str, Any]) -> str:
    """Cognito's header has a `kid` and an `alg`, and no `typ`."""
    header = {"kid": key.kid, "alg": ALGORITHM}
    return jwt.encode(header, claims, _read(key.pem), algorithms=[ALGORITHM], default_type=None)


def verified(pool: Pool, token: str) -> dict[str, Any] | None:
    """The claims of an access token that this pool has signed and that is whole; None for any other text."""
    for key in (pool.signs_access, *pool.retired):
        try:
            return dict(jwt.decode(token, _read(key.pem), algorithms=[ALGORITHM]).claims)
        except (JoseError, ValueError):
            continue
    return None


@lru_cache(maxsize=64)
def _read(pem: str) -> RSAKey:
    """Once for each key: OpenSSL proves that it is one, which takes far longer than to sign with it."""
    return RSAKey.import_key(pem)


def _public(key: SigningKey) -> dict[str, Any]:
    return {
        **_read(key.pem).as_dict(private=False),
        "kid": key.kid,
        "alg": ALGORITHM,
        "use": "sig",
    }
