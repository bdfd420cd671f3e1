"""Whose tokens a tenant's members come in with: issuers of the tenant's own, by OpenID Connect."""

from typing import Annotated

import msgspec

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.refusal import Malformed
from chalicelib.tenancy.issuers import MOST_ISSUERS
from chalicelib.tenancy.tenant import Issuer

surface = Surface(__name__, "management", title="Tenant", prefix="/tenants/{tenant}", auth="key")


class IssuerList(msgspec.Struct, frozen=True):
    """The issuers of a tenant's own."""

    issuers: Annotated[tuple[Issuer, ...], msgspec.Meta(max_length=MOST_ISSUERS)]


@surface.door(
    "GET", "/tenants/{tenant}/issuers", permission="members.manage",
    summary="Whose tokens the members come in with", returns=IssuerList,
)  # fmt: skip
def list_issuers(_: Incoming, caller: Caller) -> IssuerList:
    """Those of the tenant's own; the operator's is everybody's."""
    return IssuerList(caller.snapshot.tenant.issuers)


@surface.door(
    "PUT", "/tenants/{tenant}/issuers", permission="members.manage", for_narrowed="closed",
    summary="Say whose tokens the members come in with", accepts=IssuerList, returns=IssuerList,
)  # fmt: skip
def put_issuers(asked: Incoming, caller: Caller) -> IssuerList:
    """These, and no others, from the next request on: a token of one that is left out opens nothing any more."""
    # Not at the top: nobody else pays for loading it.
    from chalicelib.egress import NotCallable

    issuers = asked.json(IssuerList).issuers
    for index, issuer in enumerate(issuers):
        try:
            wiring.egress().must_be_callable(issuer.url)
        except NotCallable as error:
            raise Malformed(error.why, field=f"issuers[{index}].url") from None
    return IssuerList(wiring.tenancy().issuers.put(caller.principal.tenant, issuers).issuers)
