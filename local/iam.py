"""API Gateway's AWS_IAM authoriser, for the machine that has no API Gateway: Signature Version 4, verified.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

One access key is let in: the operator's. Policies (`execute-api:Invoke`) are not evaluated. As on AWS, a signed
request may be repeated until its date is too old.
"""

import hashlib
import hmac
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from urllib.parse import quote, unquote_to_bytes

import msgspec

from chalicelib.api.bridge import Signed
from chalicelib.clock import Clock
from chalicelib.refusal import Forbidden

SERVICE = "execute-api"
MOST_SKEW = timedelta(minutes=5)

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=(?P<credential>[^,\s]+), *SignedHeaders=(?P<signed>[a-z0-9;._-]+), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
_DATE = "%Y%m%dT%H%M%SZ"

# API Gateway's own words.
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
UNKNOWN = "The security token included in the request is invalid."
INCOMPLETE = (
    "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. "
    "Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a "
    "'X-Amz-Date' or a 'Date' header."
)


class Owner(msgspec.Struct, frozen=True):
    """Whose access key it is."""

    arn: str
    account: str


class Authoriser:
    """What the bridge asks who signed a request. `owner` is called for the first request that is let in."""

    def __init__(
        self, access_key_id: str, secret: str, owner: Callable[[], Owner], region: str, clock: Clock, token: str = ""
    ) -> None:
        """`token`: the session token that goes with temporary credentials; empty for a user's own key."""
        self._access_key_id = access_key_id
        self._secret = secret
        self._owner = cache(owner)
        self._region = region
        self._clock = clock
        self._token = token

    def __call__(self, request: Signed) -> Mapping[str, str]:
        """Members of API Gateway's `requestContext.identity`. Raises Forbidden."""
        headers = _by_name(request)
        claim = _AUTHORIZATION.fullmatch(_joined(headers, "authorization"))
        dated = _joined(headers, "x-amz-date")
        if claim is None or not dated:
            raise Forbidden(INCOMPLETE)
        access_key_id, _, scope = claim["credential"].partition("/")
        if access_key_id != self._access_key_id or not _same(_joined(headers, "x-amz-security-token"), self._token):
            raise Forbidden(UNKNOWN)
        self._check_date(dated)
        self._check_scope(scope, dated)
        signed = claim["signed"].split(";")
        # What is not signed can be changed on the way: least of all may that be true of the signature's own members.
        if missing := {"host", *(name for name in headers if name.startswith("x-amz-"))} - set(signed):
            raise Forbidden(f"'{min(missing)}' must be a 'SignedHeader' in the AWS Authorization.")
        canonical = canonical_request(request, headers, signed)
        if not _same(signature(self._secret, scope, dated, canonical), claim["signature"]):
            raise Forbidden(MISMATCH)
        owner = self._owner()
        return {
            "userArn": owner.arn,
            "user": owner.arn,
            "caller": owner.arn,
            "accountId": owner.account,
            "accessKey": access_key_id,
        }

    def _check_date(self, dated: str) -> None:
        try:
            signed_at = datetime.strptime(dated, _DATE).replace(tzinfo=UTC)
        except ValueError:
            raise Forbidden(
                "Date must be in ISO-8601 'basic format'. See http://en.wikipedia.org/wiki/ISO_8601"
            ) from None
        now = datetime.fromtimestamp(self._clock() / 1000, UTC)
        if signed_at < now - MOST_SKEW:
            raise Forbidden(f"Signature expired: {dated} is now earlier than {now - MOST_SKEW:{_DATE}}.")
        if signed_at > now + MOST_SKEW:
            raise Forbidden(f"Signature not yet current: {dated} is still later than {now + MOST_SKEW:{_DATE}}.")

    def _check_scope(self, scope: str, dated: str) -> None:
        expected = (dated[:8], self._region, SERVICE, "aws4_request")
        wrong = (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.",
            "Credential should be scoped to a valid region.",
            f"Credential should be scoped to correct service: '{SERVICE}'.",
            "Credential should be scoped with a valid terminator: 'aws4_request'.",
        )
        parts = scope.split("/")
        if len(parts) != len(expected):
            raise Forbidden("Credential must have exactly 5 slash-delimited elements.")
        for part, want, text in zip(parts, expected, wrong, strict=True):
            if part != want:
                raise Forbidden(text)


def canonical_request(request: Signed, headers: Mapping[str, list[str]], signed: list[str]) -> str:
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


def signature(secret: str, scope: str, dated: str, canonical: str) -> str:
    """The signature of a canonical request, hexadecimal."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return hmac.digest(key, f"AWS4-HMAC-SHA256\n{dated}\n{scope}\n{digest}".encode(), "sha256").hex()


def operator(clock: Clock) -> Authoriser:
    """Lets in the access key that is in this process's environment, which the local cloud made for its operator."""
    region = os.environ["AWS_REGION"]
    return Authoriser(
        os.environ["AWS_ACCESS_KEY_ID"],
        os.environ["AWS_SECRET_ACCESS_KEY"],
        lambda: _owner_of_our_key(region),
        region,
        clock,
        os.environ.get("AWS_SESSION_TOKEN", ""),
    )


def _owner_of_our_key(region: str) -> Owner:
    import botocore.session  # not before somebody signs: it is 50 ms of every start

    told = botocore.session.get_session().create_client("sts", region_name=region).get_caller_identity()
    return Owner(told["Arn"], told["Account"])


def _by_name(request: Signed) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in request.headers:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _joined(headers: Mapping[str, list[str]], name: str) -> str:
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


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
