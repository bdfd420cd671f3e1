"""From where a tenant's callers come in: networks, and VPC endpoints of API Gateway."""

from typing import Annotated

import msgspec

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.refusal import Malformed
from chalicelib.tenancy.sources import MOST_SOURCES, NetworkSource, lets_in, must_be_sound

surface = Surface(__name__, "management", title="Tenant", prefix="/tenants/{tenant}", auth="key")
operators = Surface(__name__, "management", title="Admin", prefix="/admin", auth="signed_or_key")

SourceText = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        description="a network, as 203.0.113.0/24 or 2001:db8::/32, an address, or a VPC endpoint, as "
        "vpce-0123456789abcdef0",
    ),
]
Listed = Annotated[tuple[SourceText, ...], msgspec.Meta(max_length=MOST_SOURCES)]


class SourceRequest(msgspec.Struct, frozen=True):
    """From where callers are let in; empty: from everywhere. `without_me`: also where that locks out whoever asks."""

    sources: Listed
    without_me: bool = False


class SourceList(msgspec.Struct, frozen=True):
    """From where callers are let in; empty: from everywhere. `yours`: from where this request came."""

    sources: Listed
    yours: NetworkSource


@surface.door(
    "GET", "/tenants/{tenant}/sources", permission="members.manage",
    summary="From where callers come in", returns=SourceList,
)  # fmt: skip
def list_sources(asked: Incoming, caller: Caller) -> SourceList:
    """And from where this request came, as the gateway sees it."""
    return SourceList(caller.snapshot.tenant.sources, asked.source)


@surface.door(
    "PUT", "/tenants/{tenant}/sources", permission="members.manage", for_narrowed="closed",
    summary="Say from where callers come in", accepts=SourceRequest, returns=SourceList,
)  # fmt: skip
def put_sources(asked: Incoming, caller: Caller) -> SourceList:
    """From there and from nowhere else, with whatever credential, from the next request on.

    Running streams from elsewhere end within seconds.
    """
    request = asked.json(SourceRequest)
    must_be_sound(request.sources)
    if not request.without_me and not lets_in(request.sources, asked.source):
        raise Malformed(
            f"This would lock you out: your request came from {asked.source}. Add that, or send `without_me`: true.",
            field="sources",
        )
    return SourceList(wiring.tenancy().sources.put(caller.principal.tenant, request.sources).sources, asked.source)


@operators.door(
    "DELETE", "/admin/tenants/{tenant}/sources", permission="operate", for_narrowed="closed",
    summary="Let a tenant's callers in from everywhere again", status=204,
)  # fmt: skip
def delete_sources(asked: Incoming) -> None:
    """For owners who have locked themselves out."""
    wiring.tenancy().sources.put(asked.parameters["tenant"], ())
