"""What a verified token says, and who verifies it."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from chalicelib.refusal import Unauthenticated
from chalicelib.tenancy.tenant import Issuer, Role


class Claims(msgspec.Struct, frozen=True):
    """Who somebody is, by an issuer that was asked for. What they may do, their tenant says."""

    issuer: str  # its URL
    subject: str  # as the issuer's `subject_claim` names it
    expires_ms: int
    issued_ms: int
    role: Role | None = None  # to which the issuer's groups are mapped; None: to none


class Identity(msgspec.Struct, frozen=True):
    """Whom an issuer's sign-in page has let in."""

    issuer: str
    subject: str  # as in `Claims`
    mail: str | None  # that the issuer has verified


Verify = Callable[[str, Sequence[Issuer], int], Claims]
"""`verify(text, issuers, now_ms)`: a token that the operator's issuer has made, or one of these.

Raises: Unauthenticated. NoCapacity, where the issuer's keys cannot be had.
"""


def no_tokens(_text: str, _issuers: Sequence[Issuer], _now_ms: int) -> Claims:
    """Verify, where none is taken."""
    raise Unauthenticated


class _Mail(msgspec.Struct, frozen=True):
    """What an ID token says of somebody's address."""

    email: str = ""
    email_verified: bool | Literal["true", "false"] = False


def verified_mail(token: str) -> str | None:
    """The address that a token says was verified.

    Its signature is not looked at: it was already, or the token came from the issuer itself, over TLS (OpenID Connect
    Core, 3.1.3.7).
    """
    try:
        payload = token.split(".")[1]
        said = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Mail)
    except (IndexError, binascii.Error, msgspec.MsgspecError):
        return None
    return said.email if said.email and said.email_verified in (True, "true") else None
