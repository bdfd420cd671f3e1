"""What a verified token says, and who verifies it."""

from collections.abc import Callable, Sequence

import msgspec

from chalicelib.refusal import Unauthenticated
from chalicelib.tenancy.tenant import Issuer, Role


class Claims(msgspec.Struct, frozen=True):
    """Who somebody is, by an issuer that was asked for. What they may do, their tenant says."""

    issuer: str  # its URL
    subject: str  # as the issuer's `subject_claim` names it
    expires_ms: int
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
