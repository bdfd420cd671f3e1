"""X-Wing, the hybrid of ML-KEM-768 and X25519, as a KEM for pyhpke (draft-connolly-cfrg-xwing-kem).

It stays as strong as the stronger of the two: traffic recorded today needs both broken to be read.
"""

import hashlib
from typing import Any, NamedTuple, cast

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from pyhpke import KEMInterface, KEMKeyInterface
from pyhpke.consts import KEMId

KEM_ID = 0x647A
SEED_BYTES = 32
PUBLIC_BYTES = 1216
ENC_BYTES = 1120

_MLKEM_PUBLIC_BYTES = 1184
_MLKEM_CIPHERTEXT_BYTES = 1088
_MLKEM_SEED_BYTES = 64
_LABEL = rb"\.//^" + b"\\"


class _Id(NamedTuple):
    """pyhpke reads nothing of a KEM's id but its value, and its enumeration has none for X-Wing."""

    value: int


class PublicKey(KEMKeyInterface):
    """Both public keys."""

    def __init__(self, mlkem: MLKEM768PublicKey, x25519: X25519PublicKey) -> None:
        super().__init__((mlkem, x25519))
        self.mlkem = mlkem
        self.x25519 = x25519

    @classmethod
    def from_bytes(cls, raw: bytes) -> "PublicKey":
        """Raises: ValueError."""
        if len(raw) != PUBLIC_BYTES:
            raise ValueError(f"An X-Wing public key has {PUBLIC_BYTES} bytes.")
        return cls(
            MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:]),
        )

    def to_public_bytes(self) -> bytes:
        return self.mlkem.public_bytes_raw() + self.x25519.public_bytes_raw()


class PrivateKey(KEMKeyInterface):
    """Both private keys, expanded from one seed of 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"An X-Wing private key is a seed of {SEED_BYTES} bytes.")
        expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_BYTES + 32)
        self.mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
        self.x25519 = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
        super().__init__((self.mlkem, self.x25519))

    def public_key(self) -> PublicKey:
        return PublicKey(self.mlkem.public_key(), self.x25519.public_key())


class XWing(KEMInterface):
    """The KEM. It has no authenticated mode."""

    @property
    def id(self) -> KEMId:
        return cast(KEMId, _Id(KEM_ID))

    def deserialize_public_key(self, key: bytes) -> PublicKey:
        """Raises: ValueError."""
        return PublicKey.from_bytes(key)

    # pyhpke hands over the keys that it was handed: ours.
    def encap(self, pkr: PublicKey, sks: Any = None, eks: Any = None) -> tuple[bytes, bytes]:  # type: ignore[override]  # noqa: ARG002
        """A shared secret, and its encapsulation for the key. Raises: ValueError."""
        mlkem_secret, mlkem_ciphertext = pkr.mlkem.encapsulate()
        ephemeral = X25519PrivateKey.generate()
        x25519_ciphertext = ephemeral.public_key().public_bytes_raw()
        x25519_secret = ephemeral.exchange(pkr.x25519)
        secret = _combined(mlkem_secret, x25519_secret, x25519_ciphertext, pkr.x25519)
        return secret, mlkem_ciphertext + x25519_ciphertext

    def decap(self, enc: bytes, skr: PrivateKey, pks: Any = None) -> bytes:  # type: ignore[override]  # noqa: ARG002
        """The shared secret of an encapsulation. Raises: ValueError."""
        if len(enc) != ENC_BYTES:
            raise ValueError(f"An X-Wing encapsulation has {ENC_BYTES} bytes.")
        x25519_ciphertext = enc[_MLKEM_CIPHERTEXT_BYTES:]
        mlkem_secret = skr.mlkem.decapsulate(enc[:_MLKEM_CIPHERTEXT_BYTES])
        x25519_secret = skr.x25519.exchange(X25519PublicKey.from_public_bytes(x25519_ciphertext))
        return _combined(mlkem_secret, x25519_secret, x25519_ciphertext, skr.x25519.public_key())


def _combined(mlkem_secret: bytes, x25519_secret: bytes, x25519_ciphertext: bytes, public: X25519PublicKey) -> bytes:
    return hashlib.sha3_256(
        mlkem_secret + x25519_secret + x25519_ciphertext + public.public_bytes_raw() + _LABEL
    ).digest()
