"""The gateway's signed permission for one call through the enclave.

    kid, 8 bytes: of SHA-256 of the raw public key | Ed25519 signature, 64 bytes | claims, JSON

The signature covers the claims, the claims the SHA-256 of what goes with the ticket: neither serves another call.
"""

import hashlib
from collections.abc import Mapping
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .refusal import TicketRefused

MOST_BYTES = 2048
MOST_AHEAD_MS = 10 * 60_000  # of expires_ms; a ticket that lives for hours was not signed by a gateway in its mind

KID_BYTES = 8
SIGNATURE_BYTES = 64
_DOMAIN = b"cloister ticket v1\0"


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is permitted. Strings are empty and numbers 0 where they do not apply; none is ever left out."""

    use: Literal["run", "check", "attest", "epoch", "challenge", "prove", "probe"]
    tenant: str
    mode: Literal["", "kms", "esdk", "hpke"]
    key_arn: str
    request_id: str
    pool: str
    operation: str
    surface: Literal["", "openai", "native"]
    stream: bool
    ceiling_tokens: int
    body_sha256: str  # lower-case hex
    expires_ms: int


def kid_of(public_key: Ed25519PublicKey) -> bytes:
    """By what name a ticket calls the key that signed it."""
    return hashlib.sha256(public_key.public_bytes_raw()).digest()[:KID_BYTES]


def sign(claims: Claims, private_key: Ed25519PrivateKey) -> bytes:
    """The ticket for these claims."""
    said = msgspec.json.encode(claims)
    return kid_of(private_key.public_key()) + private_key.sign(_DOMAIN + said) + said


def verify(ticket: bytes, body: bytes, keys: Mapping[bytes, Ed25519PublicKey], now_ms: int) -> Claims:
    """What the ticket permits, once it is certain that a gateway permits it, now, and for this body.

    `keys` are the gateways' keys by kid. Raises: TicketRefused.
    """
    kid, signature, said = _parts(ticket)
    key = keys.get(kid)
    if key is None:
        raise TicketRefused("The ticket is signed by a key that is not trusted here.")
    try:
        key.verify(signature, _DOMAIN + said)
    except InvalidSignature:
        raise TicketRefused("The ticket's signature is wrong.") from None
    claims = _claims(said)
    if claims.expires_ms <= now_ms:
        raise TicketRefused("The ticket has expired.")
    if claims.expires_ms > now_ms + MOST_AHEAD_MS:
        raise TicketRefused("The ticket expires too far ahead: do the clocks agree?")
    if claims.body_sha256 != hashlib.sha256(body).hexdigest():
        raise TicketRefused("The ticket was made for another body.")
    return claims


def read(ticket: bytes) -> Claims:
    """What the ticket says, unverified: for whoever hears from the enclave whether it is true.

    Raises: TicketRefused.
    """
    _, _, said = _parts(ticket)
    return _claims(said)


def _parts(ticket: bytes) -> tuple[bytes, bytes, bytes]:
    if not KID_BYTES + SIGNATURE_BYTES < len(ticket) <= MOST_BYTES:
        raise TicketRefused(f"A ticket has more than {KID_BYTES + SIGNATURE_BYTES} and at most {MOST_BYTES} bytes.")
    said = KID_BYTES + SIGNATURE_BYTES
    return ticket[:KID_BYTES], ticket[KID_BYTES:said], ticket[said:]


def _claims(said: bytes) -> Claims:
    try:
        return msgspec.json.decode(said, type=Claims)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # What msgspec says may quote the claims.
        raise TicketRefused("The ticket's claims are not those of a ticket.") from None
