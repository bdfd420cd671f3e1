"""What a token claims, against an issuer that somebody has configured. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from chalicelib.identity.claims import Claims, Identity
from chalicelib.refusal import Unauthenticated
from chalicelib.tenancy.tenant import Issuer, Role

LEEWAY_S = 60
"""By which an issuer's clock and ours may differ."""
LONGEST_SUBJECT = 255  # OpenID Connect Core, section 2
MOST_GROUPS = 200
_LATEST_S = 2**40  # some 35,000 years


def judged(claims: Mapping[str, Any], issuers: Sequence[Issuer], now_ms: int) -> tuple[Issuer, Claims]:
    """The first of the issuers for which the claims are good, and what they say there. Raises Unauthenticated."""
    expires_s, issued_s = _holds_until(claims, now_ms)
    if claims.get("token_use", "access") != "access":  # Cognito's; an ID token is for its client, and for no API
        raise Unauthenticated
    for issuer in issuers:
        subject = _subject(claims, issuer)
        if claims.get("iss") == issuer.url and _is_for_us(claims, issuer) and subject:
            return issuer, Claims(
                issuer.url, subject, int(expires_s * 1_000), int(issued_s * 1_000), _role(claims, issuer)
            )
    raise Unauthenticated


def judged_of_sign_in(claims: Mapping[str, Any], issuer: Issuer, client_id: str, nonce: str, now_ms: int) -> Identity:
    """Whom an ID token is about, that was made for this client and this sign-in (OpenID Connect Core, 3.1.3.7).

    Raises Unauthenticated.
    """
    _holds_until(claims, now_ms)
    subject, mail = _subject(claims, issuer), claims.get("email")
    if claims.get("iss") != issuer.url or claims.get("nonce") != nonce or subject is None:
        raise Unauthenticated
    if claims.get("token_use", "id") != "id" or claims.get("aud") not in (client_id, [client_id]):
        raise Unauthenticated
    verified = claims.get("email_verified") is True and isinstance(mail, str)
    return Identity(issuer.url, subject, mail if verified else None)


def holds(expires_ms: int, now_ms: int) -> bool:
    """Whether a token that was good still is."""
    return now_ms < expires_ms + LEEWAY_S * 1_000


def _holds_until(claims: Mapping[str, Any], now_ms: int) -> tuple[float, float]:
    """When it ends, and when it was made, in seconds. Raises Unauthenticated where it does not hold now."""
    now_s = now_ms // 1_000
    expires_s, issued_s, starts_s = _time(claims, "exp"), _time(claims, "iat"), _time(claims, "nbf")
    if expires_s is None or issued_s is None or not isinstance(claims.get("sub"), str):
        raise Unauthenticated
    if now_s >= expires_s + LEEWAY_S or max(issued_s, starts_s or 0) > now_s + LEEWAY_S:
        raise Unauthenticated
    return expires_s, issued_s


def _is_for_us(claims: Mapping[str, Any], issuer: Issuer) -> bool:
    """Where a token says for whom it is, it must be for us; where it does not, as Cognito's, its client must be known,
    or the issuer must have given it a scope of ours.

    Where clients or scopes are configured, it must be so in any case.
    """
    if "aud" in claims:
        said = claims["aud"]
        named = said if isinstance(said, list) else [said]
        if not any(each in issuer.audiences for each in named if isinstance(each, str)):
            return False
    elif not issuer.client_ids and not issuer.scopes:
        return False
    if not issuer.client_ids and not issuer.scopes:
        return True
    return claims.get("client_id", claims.get("azp")) in issuer.client_ids or _has_a_scope(claims, issuer)


def _has_a_scope(claims: Mapping[str, Any], issuer: Issuer) -> bool:
    """RFC 9068, 2.2.3: words with spaces between."""
    said = claims.get("scope")
    return isinstance(said, str) and not set(issuer.scopes).isdisjoint(said.split(" "))


def _subject(claims: Mapping[str, Any], issuer: Issuer) -> str | None:
    said = claims.get(issuer.subject_claim)
    if not isinstance(said, str) or not 0 < len(said) <= LONGEST_SUBJECT:
        return None
    # With many issuers, people write into `email` what they like: it names somebody only once it was verified.
    return said if issuer.subject_claim != "email" or claims.get("email_verified") is True else None


def _role(claims: Mapping[str, Any], issuer: Issuer) -> Role | None:
    """The widest one, of those to which a group of theirs is mapped."""
    if not issuer.groups_claim:
        return None
    said = claims.get(issuer.groups_claim)
    groups = said[:MOST_GROUPS] if isinstance(said, list) else [said]
    roles = [issuer.roles[group] for group in groups if isinstance(group, str) and group in issuer.roles]
    return min(roles, key=get_args(Role).index, default=None)


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """Seconds since 1970, which may have a fraction. Raises Unauthenticated for what is there and is no time."""
    said = claims.get(name)
    if said is None and name not in claims:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said <= _LATEST_S:
        raise Unauthenticated
    return said
