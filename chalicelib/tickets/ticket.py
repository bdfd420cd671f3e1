"""The gateway's permission for one thing that an enclave shall do: docs/sealed-formats.md, section "Ticket".

    kid, 8 bytes | Ed25519 signature, 64 bytes | claims, JSON

`vectors/ticket` holds tickets that every program must agree on.
"""

import hashlib
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

Use = Literal["run", "check", "attest", "epoch", "challenge", "prove", "probe"]

DOMAIN = b"cloister ticket v1\0"
"""Goes before the claims into what is signed, so that no signature of another kind is one of a ticket."""


class Claims(msgspec.Struct, frozen=True):
    """What is permitted, to whom, with which bytes, and until when. What does not apply is empty."""

    use: Use
    tenant: str = ""
    mode: Literal["", "kms", "esdk", "hpke"] = ""
    key_arn: str = ""
    request_id: str = ""
    pool: str = ""
    operation: str = ""
    surface: str = ""
    stream: bool = False
    ceiling_tokens: int = 0
    body_sha256: str = ""  # of what the ticket goes with, hexadecimal; set when it is issued
    expires_ms: int = 0  # likewise
    rules_sha256: str | UnsetType = UNSET  # of the rules that the request is judged by, likewise; left out: by none


class Signer:
    """An Ed25519 key that signs tickets (RFC 8032)."""

    def __init__(self, private_key: bytes) -> None:
        """From the raw 32 bytes. Raises ValueError."""
        # Not at the top: a gateway that gets no sealed request does not pay for loading it.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key = Ed25519PrivateKey.from_private_bytes(private_key)
        self._kid = hashlib.sha256(self._key.public_key().public_bytes_raw()).digest()[:8]

    def ticket(self, claims: Claims) -> bytes:
        said = msgspec.json.encode(claims)
        return self._kid + self._key.sign(DOMAIN + said) + said
