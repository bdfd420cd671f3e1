"""An issuer of tokens on this machine: real keys, real HTTP, and every wrong turn on command."""

import base64
import hmac
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives import serialization
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from chalicelib.egress import Egress
from chalicelib.identity.claims import Claims
from chalicelib.identity.tokens.discovery import Discovery
from chalicelib.identity.tokens.keysets import KeySets
from chalicelib.identity.tokens.verified import Tokens
from chalicelib.refusal import Unauthenticated
from chalicelib.tenancy.tenant import Issuer as Configured
from tests import rsa_keys
from tests.engines.servers import Request, Server, Wire, whole
from tests.small_deployments import T0

CLIENT = "client-of-ours"
AUDIENCE = "https://cloister.example"
Algorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]


class Issuer:
    """`keys`: those that it serves, by their names. It signs with the one that was made last."""

    def __init__(self) -> None:
        self.server = Server(self._answer)
        self.url = self.server.root
        self.jwks_uri = f"{self.url}/keys"
        self.says_it_is = self.url
        self.keys: dict[str, Any] = {}
        self.failing = 0  # the status that everything is answered with
        self.members: dict[str, Any] = {}  # of each key, besides its own
        self.rotate()

    def rotate(self, algorithm: Algorithm = "RS256", *, keep: bool = True) -> str:
        """A new key, beside the old ones or in place of them."""
        kid = f"key-{len(self.keys)}-{algorithm}" + ("" if keep else "-alone")
        made: Any
        if algorithm == "ES256":
            made = ECKey.generate_key("P-256", {"kid": kid})
        elif algorithm == "EdDSA":
            made = OKPKey.generate_key("Ed25519", {"kid": kid})
        else:
            made = RSAKey.import_key(rsa_keys.another(), {"kid": kid})
        self.keys = {**(self.keys if keep else {}), kid: made}
        self.algorithm, self.kid = algorithm, kid
        return kid

    def token(self, header: dict[str, Any] | None = None, key: Any = None, /, **claims: Any) -> str:
        """A good access token of ada's, made at T0 for an hour, but for what is said; None takes a member away."""
        said = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **(header or {})}
        return signed(_without_none(said), _without_none({**self.good, **claims}), key or self.keys[self.kid])

    @property
    def good(self) -> dict[str, Any]:
        now_s = T0 // 1000
        return {
            "iss": self.url, "sub": "ada", "aud": AUDIENCE, "client_id": CLIENT, "token_use": "access",
            "iat": now_s, "exp": now_s + 3600,
        }  # fmt: skip

    def asked(self, path: str) -> int:
        return sum(request.path == path for request in self.server.requests)

    @property
    def fetches(self) -> int:
        """Of its keys."""
        return self.asked("/keys")

    def _answer(self, request: Request, wire: Wire) -> None:
        if self.failing:
            wire.send(whole(b"{}", self.failing))
        elif request.path == "/.well-known/openid-configuration":
            wire.send(whole(json.dumps({"issuer": self.says_it_is, "jwks_uri": self.jwks_uri}).encode()))
        else:
            wire.send(whole(json.dumps({"keys": self.served}).encode()))

    @property
    def served(self) -> list[dict[str, Any]]:
        return [{**key.as_dict(private=False), "use": "sig", **self.members} for key in self.keys.values()]


class Verifier:
    """One process, to which the issuer is configured, and whose work aside is done when the test says so."""

    def __init__(self, issuer: Issuer, **configured: Any) -> None:
        self.aside: list[Callable[[], None]] = []
        self.configured = Configured(issuer.url, **(configured or {"audiences": (AUDIENCE,), "client_ids": (CLIENT,)}))
        self.keysets = KeySets(Discovery(Egress([issuer.url])), self.aside.append)
        self.tokens = Tokens(self.keysets)

    def __call__(self, text: str, now_ms: int = T0) -> Claims:
        return self.tokens.verified(text, [self.configured], now_ms)

    def refuses(self, text: str, now_ms: int = T0) -> bool:
        with pytest.raises(Unauthenticated) as refused:
            self(text, now_ms)
        return refused.value.text == Unauthenticated().text

    def renew(self) -> None:
        while self.aside:
            self.aside.pop()()


@contextmanager
def issuing() -> Iterator[Issuer]:
    issuer = Issuer()
    try:
        yield issuer
    finally:
        issuer.server.close()


def signed(header: dict[str, Any], claims: dict[str, Any] | bytes, key: Any) -> str:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    signing_input = f"{part(json.dumps(header).encode())}.{part(payload)}"
    algorithm = jws.JWSRegistry.algorithms[header["alg"]]
    return f"{signing_input}.{part(algorithm.sign(signing_input.encode(), key))}"


def signed_with_the_public_key(issuer: Issuer) -> str:
    """As HS256, whose secret anybody has who may verify."""
    public = issuer.keys[issuer.kid].public_key
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header = part(json.dumps({"alg": "HS256", "kid": issuer.kid}).encode())
    signing_input = f"{header}.{part(json.dumps(issuer.good).encode())}"
    return f"{signing_input}.{part(hmac.digest(pem, signing_input.encode(), 'sha256'))}"


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
