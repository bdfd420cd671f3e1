"""Who calls: a Bedrock API key in the Authorization header, or a signature (Signature Version 4) that is verified.

https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys-use.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hmac
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from emulators.bedrock.refusal import BedrockError
from emulators.iam.refusal import AccessDenied
from emulators.iam.signature import (
    EXPIRED,
    MISMATCH,
    UNKNOWN,
    Headers,
    SignedRequest,
    authorization,
    by_name,
    canonical_request,
    signature,
    string_to_sign,
)

SERVICE = "bedrock"
MOST_SKEW = timedelta(minutes=5)

_BEARER = "Bearer "
_DATE = "%Y%m%dT%H%M%SZ"

_INVALID_KEY = "Authentication failed: Please make sure your API Key is valid."
_EXPIRED_KEY = "Bearer Token has expired"


class AccessKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user's own key, or with a session token a role's."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""


class Bearer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Bedrock API key, and the region that those who call with it call: nothing else in the request says it."""

    key: str
    region: str = ""


class Keys(msgspec.Struct, frozen=True):
    """What is let in. `expired` are API keys, and IDs of access keys."""

    access_keys: Mapping[str, AccessKey] = {}
    bearers: Mapping[str, Bearer] = {}
    expired: Collection[str] = ()


class Caller(msgspec.Struct, frozen=True):
    """Who it was: an access key's ID, or `bearer`; and the region that is called."""

    key: str
    region: str


def identify(request: SignedRequest, keys: Keys, region: str, now_ms: int) -> Caller:
    """Who calls. `region` is that of API keys that have none of their own. Raises Refused."""
    headers = by_name(request)
    proof = ",".join(headers.get("authorization", ()))
    if not proof:
        raise BedrockError("MissingAuthenticationTokenException", "Missing Authentication Token")
    if proof.startswith(_BEARER):
        return _bearer(proof.removeprefix(_BEARER), keys, region)
    return _signed(request, headers, keys, now_ms)


def _bearer(key: str, keys: Keys, region: str) -> Caller:
    if key in keys.expired:
        raise BedrockError("AccessDeniedException", _EXPIRED_KEY)
    known = keys.bearers.get(key)
    if known is None:
        raise BedrockError("AccessDeniedException", _INVALID_KEY)
    return Caller("bearer", known.region or region)


def _signed(request: SignedRequest, headers: Headers, keys: Keys, now_ms: int) -> Caller:
    try:
        claimed = authorization(headers)
    except AccessDenied as denied:
        raise BedrockError("IncompleteSignatureException", denied.text) from None
    known = keys.access_keys.get(claimed.access_key_id)
    if known is None or not hmac.compare_digest(claimed.token.encode(), known.session_token.encode()):
        raise BedrockError("UnrecognizedClientException", UNKNOWN)
    if known.access_key_id in keys.expired:
        raise BedrockError("ExpiredTokenException", EXPIRED)
    _check_date(claimed.dated, now_ms)
    region = _region(claimed.scope, claimed.dated)
    to_sign = string_to_sign(claimed.scope, claimed.dated, canonical_request(request, headers, claimed.signed))
    if not hmac.compare_digest(signature(known.secret_access_key, claimed.scope, to_sign), claimed.signature):
        raise BedrockError("InvalidSignatureException", MISMATCH)
    return Caller(known.access_key_id, region)


def _check_date(dated: str, now_ms: int) -> None:
    try:
        signed_at = datetime.strptime(dated, _DATE).replace(tzinfo=UTC)
    except ValueError:
        raise BedrockError(
            "InvalidSignatureException", f"Date must be in ISO-8601 'basic format'. Got '{dated}'."
        ) from None
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    earliest, latest = now - MOST_SKEW, now + MOST_SKEW
    if signed_at < earliest:
        raise BedrockError(
            "InvalidSignatureException",
            f"Signature expired: {dated} is now earlier than {earliest:{_DATE}} ({now:{_DATE}} - 5 min.)",
        )
    if signed_at > latest:
        raise BedrockError(
            "InvalidSignatureException",
            f"Signature not yet current: {dated} is still later than {latest:{_DATE}} ({now:{_DATE}} + 5 min.)",
        )


def _region(scope: str, dated: str) -> str:
    """The region of a scope that is otherwise as it must be."""
    match scope.split("/"):
        case [date, region, service, "aws4_request"] if date == dated[:8]:
            if service == SERVICE:
                return region
            raise BedrockError(
                "InvalidSignatureException", f"Credential should be scoped to correct service: '{SERVICE}'."
            )
    raise BedrockError("InvalidSignatureException", "Credential should be scoped to a valid date, region and service.")
