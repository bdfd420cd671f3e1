"""The keys of mode `hpke`: those of one key epoch, which enclaves share, and what clients are told of them."""

import hashlib
import struct
from typing import Annotated, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from . import xwing
from .refusal import DocumentRefused

SEED_BYTES = 64
X25519_BYTES = 32
MOST_TOKEN_BYTES = 6144  # what KMS decrypts, https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html

MOST_EPOCH_MS = 91 * 86_400_000
"""How far ahead an epoch may end, for who seals and who opens: all its requests lie open to whoever gets its seed.
Gateways ask for 90 days at most; the rest is for clocks that differ."""

_FINGERPRINT_DOMAIN = b"cloister key configuration v1\0"

EPOCH = r"^[A-Za-z0-9_.-]{1,64}\Z"
Epoch = Annotated[str, msgspec.Meta(pattern=EPOCH)]
TimeMs = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]  # what every JSON reader keeps exactly
Token = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MOST_TOKEN_BYTES)]


class EpochKeys:
    """The private keys of one key epoch, one for each KEM."""

    def __init__(self, x25519: X25519PrivateKey, hybrid: xwing.PrivateKey) -> None:
        self.x25519 = x25519
        self.xwing = hybrid

    @classmethod
    def derive(cls, seed: bytes) -> "EpochKeys":
        """Both keys of a seed of SEED_BYTES: every enclave that may have the seed derives the same.

        Raises: ValueError when the seed has another length.
        """
        if len(seed) != SEED_BYTES:
            raise ValueError(f"The seed of a key epoch has {SEED_BYTES} bytes.")
        return cls(
            X25519PrivateKey.from_private_bytes(_expanded(seed, b"cloister hpke v1 key x25519")),
            xwing.PrivateKey(_expanded(seed, b"cloister hpke v1 key xwing")),
        )

    def configuration(self, *, epoch: str, expires_ms: int, token: bytes) -> "KeyConfiguration":
        """What clients need to seal for these keys; `token` is the seed, encrypted by KMS for attested enclaves."""
        return KeyConfiguration(
            epoch=epoch,
            expires_ms=expires_ms,
            token=token,
            x25519=self.x25519.public_key().public_bytes_raw(),
            xwing=self.xwing.public_key().to_public_bytes(),
        )


class KeyConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client needs to seal in mode hpke. An attestation document vouches for it by its fingerprint.

    In JSON the bytes are base64 (standard alphabet, padded).
    """

    epoch: Epoch
    expires_ms: TimeMs
    token: Token
    x25519: Annotated[bytes, msgspec.Meta(min_length=X25519_BYTES, max_length=X25519_BYTES)]
    xwing: Annotated[bytes, msgspec.Meta(min_length=xwing.PUBLIC_BYTES, max_length=xwing.PUBLIC_BYTES)]

    @classmethod
    def parse(cls, text: bytes) -> "KeyConfiguration":
        """Raises: DocumentRefused."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DocumentRefused(f"The key configuration is not one: {error}.") from None

    def to_json(self) -> bytes:
        """The members in the order of the fields, without white space."""
        return msgspec.json.encode(self)

    def fingerprint(self) -> bytes:
        """SHA-256 over the values, 32 bytes: the `user_data` of the document that vouches for them.

        Over the values and not over their JSON, which may be written anew wherever it is passed on.
        """
        said = hashlib.sha256(_FINGERPRINT_DOMAIN)
        for value in (self.epoch.encode(), struct.pack(">Q", self.expires_ms), self.token, self.x25519, self.xwing):
            said.update(struct.pack(">H", len(value)))
            said.update(value)
        return said.digest()


def epoch_fault(expires_ms: int, now_ms: int) -> Literal["over", "too long"] | None:
    """Why nothing is sealed or opened in an epoch that ends then; None where it may be."""
    if expires_ms <= now_ms:
        return "over"
    return "too long" if expires_ms > now_ms + MOST_EPOCH_MS else None


def _expanded(seed: bytes, label: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=label).derive(seed)
