"""Who belongs to a tenant, and what its own roles may."""

from typing import Literal

import msgspec

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.doors import Reply
from chalicelib.http.entering import entering
from chalicelib.http.incoming import Incoming, must_fit
from chalicelib.http.own_pages import signed_out
from chalicelib.http.surface import Surface, named_routes
from chalicelib.refusal import Forbidden
from chalicelib.tenancy import validity
from chalicelib.tenancy.allowed import must_be_routes
from chalicelib.tenancy.tenant import Member, RoleName, Roles, Subject

surface = Surface(__name__, "management", title="People", prefix="/tenants/{tenant}", auth="key")


class MemberRequest(msgspec.Struct, frozen=True):
    """What a member may be."""

    role: RoleName


class MemberView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member: `invited`, until they have joined by signing in."""

    subject: str
    role: RoleName
    state: Literal["invited", "active"]
    added_ms: int
    joined_ms: int | None = None


class Members(msgspec.Struct, frozen=True):
    """The members of a tenant."""

    members: list[MemberView]


class OwnRoles(msgspec.Struct, frozen=True):
    """The roles that are a tenant's own: each is one that every tenant has, its `base`, narrowed by `scopes`."""

    roles: Roles


@surface.door(
    "GET", "/tenants/{tenant}/members", permission="members.manage",
    summary="List the members", returns=Members,
)  # fmt: skip
def list_members(_: Incoming, caller: Caller) -> Members:
    """Who belongs to the tenant, and as what; and who is invited."""
    return Members([_view(member) for member in wiring.tenancy().people.members(caller.principal.tenant)])


@surface.door(
    "PUT", "/tenants/{tenant}/members/{subject}", permission="members.manage", for_narrowed="closed",
    summary="Invite somebody, or change a member's role", accepts=MemberRequest, returns=MemberView,
)  # fmt: skip
def put_member(asked: Incoming, caller: Caller) -> MemberView:
    """By their mail address, or their subject at their issuer. They join by signing in.

    Another role counts from their next request on, and for their keys too.
    """
    request = asked.json(MemberRequest)
    subject = asked.parameters["subject"]
    must_fit(subject, Subject, "subject")
    return _view(wiring.tenancy().people.put(caller.principal.tenant, subject, request.role))


@surface.door(
    "DELETE", "/tenants/{tenant}/members/{subject}", permission="members.manage", for_narrowed="closed",
    summary="Remove a member, and all their keys", status=204,
)  # fmt: skip
def remove_member(asked: Incoming, caller: Caller) -> None:
    """They and their keys are refused on the next request, and their running streams end within seconds.

    The tenant's own keys stay, whoever made them.
    """
    wiring.tenancy().people.remove(caller.principal.tenant, asked.parameters["subject"])


@surface.door(
    "DELETE", "/tenants/{tenant}/membership", permission="sessions.manage", for_narrowed="within",
    summary="Leave the tenant", status=204, for_every_surface=True,
)  # fmt: skip
def leave(asked: Incoming, caller: Caller) -> Reply:
    """As whoever is removed: one's keys, sessions and tokens are refused on the next request, and one's running streams
    end within seconds. Of the last owner it is refused.

    It takes whoever has signed in themselves: a session, or a token. A key may be lent.
    """
    by = caller.principal
    if by.member is None or by.proof not in ("session", "jwt"):
        raise Forbidden("Only a member leaves who has signed in: come with a session, or a token of your issuer.")
    with entering(asked, "leave", by.proof)(by.tenant, by.member) as outcome:
        outcome.status = 204
        wiring.tenancy().people.remove(by.tenant, by.member)
    return Reply(b"", {}, 204, [signed_out(by.tenant)] if by.proof == "session" else [])


@surface.door(
    "GET", "/tenants/{tenant}/roles", permission="members.manage",
    summary="The tenant's own roles", returns=OwnRoles,
)  # fmt: skip
def list_roles(_: Incoming, caller: Caller) -> OwnRoles:
    """Beside those that every tenant has."""
    return OwnRoles(caller.snapshot.tenant.roles)


@surface.door(
    "PUT", "/tenants/{tenant}/roles", permission="members.manage", for_narrowed="closed",
    summary="Set the tenant's own roles", accepts=OwnRoles, returns=OwnRoles,
)  # fmt: skip
def put_roles(asked: Incoming, caller: Caller) -> OwnRoles:
    """These and no other, from the next request of everybody who holds one. A role that a member holds stays."""
    roles = asked.json(OwnRoles).roles
    validity.must_be_roles(roles, caller.snapshot.tenant.pools)
    for name, role in roles.items():
        must_be_routes(role.scopes.routes, named_routes(), f"roles.{name}.scopes.routes")
    return OwnRoles(wiring.tenancy().people.put_roles(caller.principal.tenant, roles).roles)


def _view(member: Member) -> MemberView:
    return MemberView(
        subject=member.subject,
        role=member.role,
        state="invited" if member.joined_ms is None else "active",
        added_ms=member.added_ms,
        joined_ms=member.joined_ms,
    )
