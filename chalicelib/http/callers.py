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


def let_in(route: Route, asked: Incoming) -> Caller | Principal | None:
    """Who comes in, an operator without a snapshot; None where everybody may, or whoever admits will ask.

    Raises: Unauthenticated, NotFound, Forbidden; StoreUnavailable.
    """
    credential = asked.credential
    _must_be_from_where_callers_may_be(route, asked)
    if route.auth == "signed" and not isinstance(credential, Signed):
        raise Forbidden(f"{SIGN} {OR_BRING_A_KEY}" if route.shape == "bedrock" else SIGN)
    if route.permission == "operate":
        path = wiring.path()
        principal = operator(credential, path.snapshots.fresh, path.clock(), asked.source)
        principal.must_come_by(asked.route, asked.surface)
        _must_be_wide_enough(route, principal)
        return principal
    held = route.held
    if held is None:
        return None
    caller = _identified(asked)
    caller.principal.must(held)
    # Whichever surface a key is narrowed to, it may seal there, and must know to whom.
    if not (route.for_sealers or route.for_every_surface):
        caller.principal.must_come_by(asked.route, asked.surface)
    _must_be_wide_enough(route, caller.principal)
    return caller


def _must_be_from_where_callers_may_be(route: Route, asked: Incoming) -> None:
    """By the operator's lists. Who asks how a process is may be anywhere; so may operators whom IAM lets in.

    Raises Forbidden.
    """
    if route.about_us or (route.permission == "operate" and isinstance(asked.credential, Signed)):
        return
    path = wiring.path()
    now_ms = path.clock()
    if not path.velocity.reputation.hear(now_ms):
        path.telemetry.count("ReputationUnheard", now_ms, request_id=asked.request_id)
    path.velocity.reputation.must_let_in(asked.source, now_ms)


def must_be_known(asked: Incoming) -> str:
    """Before whoever wants to run a model hears what is wrong with their request: that they might run one.

    Requests that are right are not looked at for this: the admission asks whose they are. Gives their tenant.

    Raises: as `let_in`; NotOpened.
    """
    principal, _ = _identified(asked)
    principal.must("infer")
    principal.must_come_by(asked.route, asked.surface)
    return principal.tenant


def must_be_let_in(route: Route, asked: Incoming) -> None:
    """Before a byte of the body is taken of whom nobody remembers. Raises: as `let_in`; NotOpened."""
    let_in(route, asked)
    if route.infers:
        must_be_known(asked)


def _must_be_wide_enough(route: Route, principal: Principal) -> None:
    if route.for_narrowed == "closed":
        principal.must_be_whole()


def _identified(asked: Incoming) -> Caller:
    path = wiring.path()
    return Caller(
        *identify(asked.credential, asked.tenant, path.snapshots.fresh, path.clock(), path.verified, asked.source)
    )
