"""The gateway's signed permission for one call through the enclave.

    kid, 8 bytes: of SHA-256 of the raw public key | Ed25519 signature, 64 bytes | claims, JSON

The signature covers the claims, the claims the SHA-256 of what goes with the ticket: neither serves another call.
What goes with it is a request. Where the claims name rules, those go ahead of it: u32 length | rules.
"""

import hashlib
from collections.abc import Mapping
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import UNSET, UnsetType

from .refusal import TicketRefused

MOST_BYTES = 2048
MOST_AHEAD_MS = 10 * 60_000  # of expires_ms; a ticket that lives for hours was not signed by a gateway in its mind

MOST_RULES_BYTES = 256 * 1024

KID_BYTES = 8
SIGNATURE_BYTES = 64
_DOMAIN = b"cloister ticket v1\0"
_LENGTH_BYTES = 4


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is permitted. Strings are empty and numbers 0 where they do not apply; only the last may be left out."""

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
    body_sha256: str  # of the request, lower-case hex
    expires_ms: int
    rules_sha256: str | UnsetType = UNSET  # of the rules that the request is judged by; left out: by none


def kid_of(public_key: Ed25519PublicKey) -> bytes:
    """By what name a ticket calls the key that signed it."""
    return hashlib.sha256(public_key.public_bytes_raw()).digest()[:KID_BYTES]


def sign(claims: Claims, private_key: Ed25519PrivateKey) -> bytes:
    """The ticket for these claims."""
    said = msgspec.json.encode(claims)
    return kid_of(private_key.public_key()) + private_key.sign(_DOMAIN + said) + said


def verify(ticket: bytes, body: bytes, keys: Mapping[bytes, Ed25519PublicKey], now_ms: int) -> Claims:
    """What the ticket permits, once it is certain that a gateway permits it, now, for this body and by these rules.

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
    rules, request = parts(claims, body)
    if claims.body_sha256 != hashlib.sha256(request).hexdigest():
        raise TicketRefused("The ticket was made for another body.")
    if claims.rules_sha256 is not UNSET and claims.rules_sha256 != hashlib.sha256(rules).hexdigest():
        raise TicketRefused("The ticket was made with other rules.")
    return claims


def parts(claims: Claims, body: bytes) -> tuple[bytes, bytes]:
    """Of what goes with a ticket the rules, empty where it names none, and the request. Raises: TicketRefused."""
    if claims.rules_sha256 is UNSET:
        return b"", body
    end = _LENGTH_BYTES + int.from_bytes(body[:_LENGTH_BYTES])
    if not _LENGTH_BYTES < end <= min(len(body), _LENGTH_BYTES + MOST_RULES_BYTES):
        raise TicketRefused("The rules that the ticket names do not go with it.")
    return body[_LENGTH_BYTES:end], body[end:]


def with_rules(rules: bytes, request: bytes) -> bytes:
    """What goes with a ticket that names rules."""
    return len(rules).to_bytes(_LENGTH_BYTES) + rules + request


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
