"""Who may come in by a door, as its route declares."""

from typing import NamedTuple

from chalicelib import wiring
from chalicelib.http.incoming import Incoming
from chalicelib.http.route import Route
from chalicelib.identity import Signed, identify, operator
from chalicelib.identity.principal import Principal
from chalicelib.refusal import Forbidden
from chalicelib.tenancy.snapshot import Snapshot

SIGN = "Sign this request with AWS Signature Version 4, for the service execute-api."
OR_BRING_A_KEY = (
    "Clients of Bedrock sign for `bedrock` by themselves: set `request.context['signing']['signing_name']` to "
    "`execute-api` before they sign; or call .../tenants/{tenant}/v1/bedrock with an API key, as "
    "AWS_BEARER_TOKEN_BEDROCK."
)
"""The two ways in for a client of Bedrock's, said to who has found neither."""


class Caller(NamedTuple):
    """Who was let in, and their tenant, read afresh: no admission follows that would notice a revoked key."""

    principal: Principal
    snapshot: Snapshot


def let_in(route: Route, asked: Incoming) -> Caller | None:
    """The caller, if the route's view is to know one; None where everybody may come in, or whoever admits will ask.

    Raises: Unauthenticated, NotFound, Forbidden; StoreUnavailable.
    """
    credential = asked.credential
    if route.auth == "signed" and not isinstance(credential, Signed):
        raise Forbidden(f"{SIGN} {OR_BRING_A_KEY}" if route.shape == "bedrock" else SIGN)
    path = wiring.path()
    reading = path.snapshots.fresh
    if route.permission == "operate":
        operator(credential, reading, path.clock())
    held = route.held
    if held is None:
        return None
    caller = Caller(*identify(credential, asked.parameters.get("tenant"), reading, path.clock()))
    caller.principal.must(held)
    if not route.for_sealers:  # whichever surface a key is narrowed to, it may seal there, and must know to whom
        caller.principal.must_reach(asked.surface)
    return caller
