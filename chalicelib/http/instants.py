"""Instants as callers write and read them: ISO 8601, UTC where no offset is given."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from chalicelib.refusal import Malformed

Instant = Annotated[str, msgspec.Meta(max_length=40)]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = 250_000_000_000_000
"""Some time in the year 9892; nobody asks for what comes later, and sums with it stay instants."""


def instant(text: str, field: str) -> int:
    """Milliseconds since 1970. Raises Malformed."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Malformed(
            f"`{field}` is no instant of ISO 8601, as 2026-11-21T10:00:00Z. In a query, + is written %2B.", field=field
        ) from None
    at_ms = (at.replace(tzinfo=at.tzinfo or UTC) - _EPOCH) // timedelta(milliseconds=1)
    if at_ms < 0:
        raise Malformed(f"`{field}` is before 1970.", field=field)
    return min(at_ms, _LAST_MS)


def written(at_ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
