"""What a request's caller proves themselves with, as its route takes it: the one place where a credential is made."""

import re
from collections.abc import Mapping

from chalicelib.http.own_pages import COOKIE, session_sent
from chalicelib.http.route import SEALED_TYPE, Route
from chalicelib.identity.credential import ApiKey, Credential, KeyHolder, Sealer, SessionCookie, Signed, Token

_TOKEN = re.compile(r"eyJ[\w-]*\.[\w-]*\.[\w-]*", re.ASCII)
"""What begins as a JSON object does in base64, of the three parts of a JWT."""


def credential_of(
    route: Route, method: str, tenant: str | None, headers: Mapping[str, str], media_type: str, iam_arn: str | None
) -> Credential | None:
    """`headers`: by lower-case name. `iam_arn`: who signed the request, as API Gateway found.

    A signature counts where the route asks for one, and there before a key; nothing else may bring it along. A session
    counts where there is no key, at the tenant whose it is called.

    Raises: Forbidden, for a session that no page of ours has sent.
    """
    if iam_arn and route.signed:
        return Signed(iam_arn)
    sent = _sent(headers)
    if sent:
        return Token(sent[0]) if _TOKEN.fullmatch(sent[0]) else ApiKey(sent[0], sent[1:])
    if tenant is not None and route.auth == "key" and COOKIE in headers.get("cookie", ""):
        session = session_sent(method, tenant, headers)
        if session is not None:
            return SessionCookie(session)
    if route.for_sealers:
        return Sealer()
    mode = headers.get("x-seal-mode", "kms")
    # Mode hpke uses no key of the tenant, so that there is none to hold.
    if route.seals and media_type == SEALED_TYPE and mode != "hpke":
        return KeyHolder(headers.get("x-kms-key-id"), mode)
    return None


def _sent(headers: Mapping[str, str]) -> tuple[str, ...]:
    """`Authorization: Bearer`, `X-API-Key`, and what Azure's SDKs send: `api-key`. An SDK may send several.

    A token is sent wherever a key is; the first that is sent says which of the two it is.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" and token else None
    sent = (bearer, headers.get("x-api-key"), headers.get("api-key"))
    return tuple(dict.fromkeys(key for key in sent if key is not None))
