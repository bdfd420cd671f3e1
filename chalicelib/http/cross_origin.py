"""Web pages that call a tenant's routes from another origin (https://fetch.spec.whatwg.org/#http-cors-protocol).

Which origins may, the tenant's document says: none by default. Their pages bring keys, in headers that they set by
themselves. Cookies are for our own pages, of our own origin (`own_pages`): so credentials are allowed to nobody,
whoever is listed, and `*` is never said.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib import wiring
from chalicelib.refusal import Forbidden, StoreUnavailable
from chalicelib.tenancy.snapshot import Reading
from chalicelib.tenancy.tenant import is_a_tenants

EXPOSED = ", ".join((
    "X-Request-ID", "X-Trace-Id", "Request-Id", "Retry-After", "Retry-After-Ms", "X-Should-Retry", "RateLimit",
    "RateLimit-Policy", "X-Region", "X-Instance-ID", "X-Queue-Time-Ms", "X-Request-Duration-Ms", "X-Stream",
    "X-Seal-Mode",
))  # fmt: skip
"""What SDKs read, and what our pages explain."""

MAX_AGE_S = 600
"""How long a browser need not ask again: two hours at most are heeded, and what is taken back shall end soon."""

# Compiled where a page first asks.
_NAMES = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+( *, *[A-Za-z0-9!#$%&'*+.^_`|~-]+)*"


def origin_of(event: Mapping[str, Any]) -> str | None:
    """Where the page is that asks, if one does. Browsers spell the header in these two ways."""
    sent = event.get("headers") or {}
    origin = sent.get("origin") or sent.get("Origin")
    return str(origin) if origin else None


def headers_for(origin: str | None, tenant: str) -> dict[str, str]:
    """What lets a page of that origin read what anybody is told: a refusal, or a stream before who asks is known."""
    try:
        return _headers(origin, origin is not None and _listed(origin, tenant, wiring.path().snapshots.cached))
    except StoreUnavailable:
        return _headers(origin, False)


def headers_for_its_own(origin: str | None, tenant: str) -> dict[str, str]:
    """What lets a page of that origin read what a caller of the tenant's own is answered.

    What is remembered of the tenant is current, for the request has just proved it; nothing is read for this alone.
    """
    snapshot = wiring.path().snapshots.remembered(tenant)
    return _headers(origin, snapshot is not None and origin in snapshot.tenant.origins)


def _headers(origin: str | None, allowed: bool) -> dict[str, str]:
    headers = {"Vary": "Origin"}
    if origin is not None and allowed:
        headers |= {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED}
    return headers


def preflight(event: Mapping[str, Any], tenant: str, methods: Iterable[str]) -> dict[str, str]:
    """What a browser is told that asks whether a page may call, before the page does, and so without a key.

    Raises: Forbidden, in the same words for a tenant that does not exist; StoreUnavailable.
    """
    served = ", ".join(sorted(methods))
    origin = origin_of(event)
    if origin is None:
        return {"Vary": "Origin", "Allow": served}
    if not _listed(origin, tenant, wiring.path().snapshots.fresh):
        raise Forbidden(
            "Pages of this origin may not call this tenant. The operator of the service lists those that may: "
            "PATCH /admin/tenants/{tenant} with `origins`."
        )
    sent = {name.lower(): value for name, value in event["headers"].items()}
    headers = {
        "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": served,
        "Access-Control-Max-Age": str(MAX_AGE_S),
    }
    asked = sent.get("access-control-request-headers") or ""
    if re.fullmatch(_NAMES, asked):  # whichever: an SDK sends a dozen of its own, and none of them proves anything
        headers["Access-Control-Allow-Headers"] = asked
    return headers


def _listed(origin: str, tenant: str, reading: Reading) -> bool:
    """Raises StoreUnavailable. Where it is not, the time that takes tells nothing of whether there is such a tenant."""
    return is_a_tenants(tenant) and reading.where(tenant, lambda held: origin in held.origins) is not None
