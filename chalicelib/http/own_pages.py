"""Pages of ours in a browser: which requests they have sent, and the cookies of who has signed in there.

A browser sends its cookies with whatever asks it to: a form of another site, an image, a script of another port. So a
cookie alone proves nothing where something is changed, or costs. There a request needs a header that only a script can
set, and that a script of another origin can set for nobody: the browser would ask us before, and is told no.

A cookie whose name begins with `__Host-` is set by this very host over TLS, for all of its paths and for no other host
(https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis, section 4.1.3.2): no neighbour plants one.
"""

from collections.abc import Mapping

from chalicelib import wiring
from chalicelib.refusal import Forbidden

COOKIE = "__Host-cloister-"
"""How the names of cookies begin that hold a session; the rest is the tenant's id."""

PAGE = "x-cloister-page"
SIGN_IN = "__Host-signin"
"""The cookie of a sign-in that is under way."""

SIGN_IN_S = 600
CLOSED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""A page that does nothing but say something."""

NOT_OURS = (
    "A session is for pages of this service. Send what changes something, or runs a model, from there with the header "
    "`X-Cloister-Page: 1`; programs and other pages send `Authorization: Bearer ck_...` instead."
)


def session_sent(method: str, tenant: str, headers: Mapping[str, str]) -> str | None:
    """The text of the session at this tenant that a page of ours has sent; None where there is none.

    Raises Forbidden where it was sent, but by no page of ours.
    """
    text = cookie(headers, f"{COOKIE}{tenant}")
    if text is not None and not _of_ours(method, headers):
        raise Forbidden(NOT_OURS)
    return text


def cookie(headers: Mapping[str, str], name: str) -> str | None:
    """Its value, if it is there once: of two, one is somebody else's."""
    pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
    found = [value for each, _, value in pairs if each == name]
    return found[0] if len(found) == 1 else None


def signed_in(tenant: str, text: str, lasts_s: int) -> str:
    """As `Set-Cookie` has it. Strict: no other site's link or form brings it along."""
    return f"{COOKIE}{tenant}={text}; Max-Age={lasts_s}; Path=/; Secure; HttpOnly; SameSite=Strict"


def signed_out(tenant: str) -> str:
    return signed_in(tenant, "", 0)


def signing_in(text: str) -> str:
    """As `Set-Cookie` has it. Lax: the issuer's page sends the browser back by a link, with which it must come."""
    return f"{SIGN_IN}={text}; Max-Age={SIGN_IN_S if text else 0}; Path=/; Secure; HttpOnly; SameSite=Lax"


def _of_ours(method: str, headers: Mapping[str, str]) -> bool:
    ours, origin, site = wiring.path().settings.public_origin, headers.get("origin"), headers.get("sec-fetch-site")
    if method in ("GET", "HEAD"):  # which change nothing, and whose answer no other page may read
        return origin in (None, ours) and site in (None, "same-origin", "none")
    from_here = (ours != "" and origin == ours) if origin is not None else site == "same-origin"
    return from_here and headers.get(PAGE) == "1"
