"""Signature Version 4, as a server reads it and computes it again.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote_to_bytes

import msgspec

from emulators.iam.refusal import AccessDenied

# API Gateway's own words.
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
UNKNOWN = "The security token included in the request is invalid."
EXPIRED = "The security token included in the request is expired"
INCOMPLETE = (
    "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
    "Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a "
    "'X-Amz-Date' or a 'Date' header."
)

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=(?P<credential>[^,\s]+), *SignedHeaders=(?P<signed>[a-z0-9;._-]+), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)

Headers = Mapping[str, list[str]]


class SignedRequest(msgspec.Struct, frozen=True):
    """A request as its client signed it: nothing decoded, nothing joined."""

    method: str
    path: bytes
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class Authorization(msgspec.Struct, frozen=True):
    """What a request says of its own signature. Nothing of it is proved."""

    access_key_id: str
    scope: str  # date/region/service/aws4_request
    dated: str  # X-Amz-Date
    token: str  # X-Amz-Security-Token; empty for a user's own key
    signed: tuple[str, ...]  # names of headers
    signature: str  # hexadecimal


def by_name(request: SignedRequest) -> Headers:
    """The headers of a request, names in lower case."""
    found: dict[str, list[str]] = {}
    for name, value in request.headers:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def authorization(headers: Headers) -> Authorization:
    """Raises AccessDenied where there is none, or where it leaves out what must be signed."""
    found = _AUTHORIZATION.fullmatch(_joined(headers, "authorization"))
    dated = _joined(headers, "x-amz-date")
    if found is None or not dated:
        raise AccessDenied(INCOMPLETE)
    access_key_id, _, scope = found["credential"].partition("/")
    signed = tuple(found["signed"].split(";"))
    # What is not signed can be changed on the way: least of all may that be true of the signature's own members.
    if missing := {"host", *(name for name in headers if name.startswith("x-amz-"))} - set(signed):
        raise AccessDenied(f"'{min(missing)}' must be a 'SignedHeader' in the AWS Authorization.")
    token = _joined(headers, "x-amz-security-token")
    return Authorization(access_key_id, scope, dated, token, signed, found["signature"])


def canonical_request(request: SignedRequest, headers: Headers, signed: tuple[str, ...]) -> str:
    """The request in the one form that both sides hash."""
    return "\n".join(
        (
            request.method,
            # Not normalised, as a signer's is: what is verified is the path that is served, dots and all.
            quote(request.path, safe="/-._~"),
            _canonical_query(request.query),
            *(f"{name}:{','.join(' '.join(value.split()) for value in headers.get(name, ()))}" for name in signed),
            "",
            ";".join(signed),
            # Always the body's own, whatever X-Amz-Content-SHA256 says: API Gateway takes no unsigned payload.
            hashlib.sha256(request.body).hexdigest(),
        )
    )


def string_to_sign(scope: str, dated: str, canonical: str) -> str:
    """What is signed of a canonical request."""
    return f"AWS4-HMAC-SHA256\n{dated}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"


def signature(secret: str, scope: str, to_sign: str) -> str:
    """Hexadecimal."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def _joined(headers: Headers, name: str) -> str:
    """What came under this name; several are joined, and no text that is read here can then be right."""
    return ",".join(headers.get(name, ()))


def _canonical_query(query: bytes) -> str:
    pairs = []
    for pair in filter(None, query.split(b"&")):
        name, _, value = pair.partition(b"=")
        pairs.append((_encoded(name), _encoded(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded(text: bytes) -> str:
    return quote(unquote_to_bytes(text), safe="-._~")
