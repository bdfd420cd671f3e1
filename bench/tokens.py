"""The guarded tenant's token, and the key that verifies it."""

import json
import time

from joserfc import jwt
from joserfc.jwk import RSAKey

from bench import tenant

LASTS_S = 86_400


class Signer:
    """An issuer's key: RS256, as most issuers sign."""

    def __init__(self) -> None:
        self._key = RSAKey.generate_key(2048, {"kid": "bench", "use": "sig", "alg": "RS256"})
        self.jwks = json.dumps({"keys": [self._key.as_dict(private=False)]})

    def token(self, issuer: str) -> str:
        """An access token as Entra's and Okta's are, about the guarded tenant's member."""
        now_s = int(time.time())
        claims = {
            **{"iss": issuer, "sub": tenant.MEMBER, "aud": tenant.AUDIENCE, "iat": now_s, "exp": now_s + LASTS_S},
            **{"jti": "9d4b1e80-4a86-4c55-9f2e-6a1f4b5c7d2e", "scope": "openid profile", "client_id": "bench"},
        }
        return jwt.encode({"alg": "RS256", "kid": "bench", "typ": "at+jwt"}, claims, self._key)
