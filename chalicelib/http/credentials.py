"""What a request's caller proves themselves with, as its route takes it: the one place where a credential is made."""

from collections.abc import Mapping

from chalicelib.http.route import SEALED_TYPE, Route
from chalicelib.identity.credential import ApiKey, Credential, KeyHolder, Sealer, Signed


def credential_of(route: Route, headers: Mapping[str, str], media_type: str, iam_arn: str | None) -> Credential | None:
    """`headers`: by lower-case name. `iam_arn`: who signed the request, as API Gateway found.

    A signature counts where the route asks for one, and there before a key; nothing else may bring it along.
    """
    if iam_arn and route.auth in ("signed", "signed_or_key"):
        return Signed(iam_arn)
    key = _api_key(headers)
    if key is not None:
        return ApiKey(key)
    if route.for_sealers:
        return Sealer()
    # Mode hpke uses no key of the tenant, so that there is none to hold.
    if route.seals and media_type == SEALED_TYPE and headers.get("x-seal-mode", "kms") != "hpke":
        return KeyHolder(headers.get("x-kms-key-id"))
    return None


def _api_key(headers: Mapping[str, str]) -> str | None:
    """`Authorization: Bearer`, or `X-API-Key`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    return headers.get("x-api-key")
