"""A token taken apart (RFC 7515, section 7.1; RFC 7519). Nothing of it is proved yet. Pure."""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from chalicelib.refusal import Unauthenticated

MOST_BYTES = 8_192
LONGEST_KID = 256

_FORM = re.compile(r"(?P<signed>(?P<header>eyJ[\w-]*)\.(?P<claims>eyJ[\w-]*))\.(?P<signature>[\w-]+)", re.ASCII)
_TYPES = ("jwt", "at+jwt", "application/at+jwt")  # RFC 9068, section 2.1; what is made for another use has another one


class Form(msgspec.Struct, frozen=True):
    """`signed` is what `signature` is of."""

    algorithm: str
    kid: str
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def form_of(text: str) -> Form:
    """Raises Unauthenticated."""
    found = _FORM.fullmatch(text) if len(text) <= MOST_BYTES else None
    if found is None:
        raise Unauthenticated
    header, claims = _object(found["header"]), _object(found["claims"])
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not (isinstance(algorithm, str) and isinstance(kid, str) and isinstance(kind, str)):
        raise Unauthenticated
    # Nothing that is critical is understood here (RFC 7515, section 4.1.11), and nothing nested.
    if "crit" in header or "cty" in header or not 0 < len(kid) <= LONGEST_KID or kind.lower() not in _TYPES:
        raise Unauthenticated
    return Form(algorithm, kid, claims, found["signed"].encode(), _bytes(found["signature"]))


def _object(part: str) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(part), object_pairs_hook=_once, parse_constant=_never)
    except (ValueError, RecursionError):  # UnicodeDecodeError is one, and so is what json raises
        raise Unauthenticated from None
    if not isinstance(found, dict):
        raise Unauthenticated
    return found


def _bytes(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise Unauthenticated from None


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of what is there twice, one reader takes the first and another the last (RFC 7519, section 4)."""
    found = dict(members)
    if len(found) < len(members):
        raise ValueError
    return found


def _never(_: str) -> NoReturn:
    """NaN and Infinity, which JSON does not have and Python's reader takes."""
    raise ValueError
