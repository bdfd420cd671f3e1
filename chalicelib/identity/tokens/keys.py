"""The public keys of an issuer (RFC 7517), and whether a signature is by one of them. Nothing else knows joserfc.

Which algorithm verifies is the key's to say, never the token's: who could choose would choose `none`, or HS256 with the
public key as its secret.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

MOST_KEYS = 100  # of one issuer
_RSA_LETTERS = range(342, 1_367)  # of the modulus: 2,048 to 8,192 bits
_EXPONENT_LETTERS = 6  # 32 bits; verifying takes the longer the longer it is
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_EC = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_ED = ("EdDSA", "Ed25519")  # RFC 8037's name, and RFC 9864's


class Jwk(msgspec.Struct, frozen=True):
    """What is read of a key; what else it has, a chain of certificates or a private half, is not."""

    kty: str
    kid: str = ""
    use: str = "sig"
    alg: str = ""
    n: str = ""
    e: str = ""
    crv: str = ""
    x: str = ""
    y: str = ""


class Key(msgspec.Struct, frozen=True, eq=False):
    """One key: the same object for as long as its issuer serves it unchanged."""

    jwk: Jwk
    algorithms: tuple[str, ...]
    public: Any  # joserfc's

    def verifies(self, signed: bytes, signature: bytes, algorithm: str) -> bool:
        """`algorithm`: as the token says it, which must be the key's."""
        if algorithm not in self.algorithms:
            return False
        try:
            return JWSRegistry.algorithms[algorithm].verify(signed, signature, self.public)
        except (JoseError, ValueError):
            return False


class _Set(msgspec.Struct):
    keys: list[msgspec.Raw]


def keys_of(document: bytes, known: Mapping[str, Key]) -> dict[str, Key]:
    """By their `kid`, those of a JWK set that can verify; keys that are `known`, and are there as they were, stay.

    Raises msgspec.MsgspecError for what is no JWK set. A key that nobody here understands is passed over (RFC 7517, 5).
    """
    found: dict[str, Key] = {}
    for raw in msgspec.json.decode(document, type=_Set).keys[:MOST_KEYS]:
        try:
            jwk = msgspec.json.decode(raw, type=Jwk)
        except msgspec.ValidationError:
            continue
        held = known.get(jwk.kid)
        key = held if held is not None and held.jwk == jwk else _key(jwk)
        if key is not None and jwk.kid:
            found[jwk.kid] = key
    return found


def _key(jwk: Jwk) -> Key | None:
    if jwk.use != "sig":
        return None
    try:
        return _imported(jwk)
    except (JoseError, ValueError, KeyError):
        return None


def _imported(jwk: Jwk) -> Key | None:
    if jwk.kty == "RSA":
        if len(jwk.n) not in _RSA_LETTERS or len(jwk.e) > _EXPONENT_LETTERS:
            return None
        return _named(jwk, _RSA, RSAKey.import_key({"kty": "RSA", "n": jwk.n, "e": jwk.e}), without_a_name="RS256")
    if jwk.kty == "EC" and jwk.crv in _EC:
        point: dict[str, str | list[str]] = {"kty": "EC", "crv": jwk.crv, "x": jwk.x, "y": jwk.y}
        return _named(jwk, (_EC[jwk.crv],), ECKey.import_key(point))
    if jwk.kty == "OKP" and jwk.crv == "Ed25519":
        return _named(jwk, _ED, OKPKey.import_key({"kty": "OKP", "crv": jwk.crv, "x": jwk.x}))
    return None


def _named(jwk: Jwk, possible: tuple[str, ...], public: Any, without_a_name: str = "") -> Key | None:
    """With the algorithm that the key names; where it names none, as Entra's, with what such keys are used for."""
    if jwk.alg:
        return Key(jwk, (jwk.alg,), public) if jwk.alg in possible else None
    return Key(jwk, (without_a_name,) if without_a_name else possible, public)
