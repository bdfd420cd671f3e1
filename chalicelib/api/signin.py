"""How people come by a token, and join with one. Whoever has joined sends it wherever an API key is taken."""

from typing import Annotated, Literal

import msgspec

from chalicelib import wiring
from chalicelib.http.doors import Reply
from chalicelib.http.entering import entering
from chalicelib.http.incoming import Incoming
from chalicelib.http.surface import Surface
from chalicelib.identity.claims import verified_mail
from chalicelib.refusal import Malformed, NotFound
from chalicelib.tenancy.tenant import RoleName, is_a_tenants

surface = Surface(__name__, "management", title="Signing in", prefix="/signin", auth="none")

Mail = Annotated[str, msgspec.Meta(pattern=r"^[^\s@]+@[^\s@]+$(?!\n)", max_length=128, description="a mail address")]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]  # as Cognito has it
RefreshToken = Annotated[str, msgspec.Meta(min_length=1, max_length=8_192)]

NO_INVITATION = (
    "Your issuer knows you, but nobody has invited you to this tenant, or there is no such tenant. Ask its owners "
    "to invite you by your subject at your issuer, or by the mail address that your token says is verified."
)


class SignIn(msgspec.Struct, frozen=True):
    """`email` and `password`; or a `refresh_token` instead."""

    email: Mail | None = None
    password: Password | None = None
    refresh_token: RefreshToken | None = None


class SignedIn(msgspec.Struct, frozen=True):
    """Tokens of the issuer. `expires_in`: seconds, of the access token."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str


@surface.door(
    "POST", "/signin/token", permission="public", for_narrowed="within",
    summary="A person's token, for their mail address and password", accepts=SignIn, returns=SignedIn,
)  # fmt: skip
def sign_in(asked: Incoming) -> Reply:
    """For programs without a browser. The access token is good wherever an API key is, at each of their tenants.

    Whoever was invited by their mail address has joined by this. Why somebody is refused, nobody is told.
    """
    request = asked.json(SignIn)
    passwords = wiring.passwords()
    if passwords is None:
        raise NotFound("Nobody signs in with a password here. Bring an API key, or a token of your issuer.")
    if request.refresh_token is not None and request.email is request.password is None:
        issued = passwords.renew(request.refresh_token, asked.source_ip, entering(asked, "join_tenant", "jwt"))
    elif request.email is not None and request.password is not None and request.refresh_token is None:
        joins, enters = entering(asked, "join_tenant", "password"), entering(asked, "sign_in", "password")
        issued = passwords.sign_in(request.email, request.password, asked.source_ip, joins, enters)
    else:
        raise Malformed("Send `email` and `password`, or a `refresh_token` alone.", field="email")
    told = SignedIn(issued.access, "Bearer", issued.expires_s, issued.refresh)
    return Reply(msgspec.json.encode(told), {"Content-Type": "application/json", "Cache-Control": "no-store"})


class Terminal(msgspec.Struct, frozen=True):
    """Where programs at a terminal have a person sign in, by a browser of that machine: a code, with PKCE."""

    issuer: str
    client_id: str


@surface.door(
    "GET", "/signin/terminal", permission="public",
    summary="Where a person at a terminal signs in", returns=Terminal,
)  # fmt: skip
def terminal(_: Incoming) -> Terminal:
    """For `cloister login`, and for others that do as it does: the issuer gives them tokens, not we."""
    settings = wiring.path().settings
    if not settings.terminal_client_id:
        raise NotFound("Nobody signs in here from a terminal by a browser. Bring an API key, or try a password.")
    return Terminal(settings.issuer, settings.terminal_client_id)


class Joining(msgspec.Struct, frozen=True):
    """An access or ID token of the tenant's issuer."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=8_192)]


class Joined(msgspec.Struct, frozen=True):
    """Who somebody is there from now on: as they were invited."""

    tenant: str
    subject: str
    role: RoleName


@surface.door(
    "POST", "/signin/{tenant}/join", permission="public", for_narrowed="within",
    summary="Accept an invitation, with a token of the tenant's issuer", accepts=Joining, returns=Joined,
)  # fmt: skip
def join_tenant(asked: Incoming) -> Joined:
    """For those who never meet a sign-in page of ours. They were invited by their subject, or by the mail address that
    the token says is verified; once they have joined, their tokens are good wherever API keys are.
    """
    token, tenant, path = asked.json(Joining).token, asked.parameters["tenant"], wiring.path()
    fresh = path.snapshots.fresh
    snapshot = fresh.where(tenant, lambda held: held.status == "active") if is_a_tenants(tenant) else None
    claims = path.verified(token, snapshot.tenant.issuers if snapshot else (), path.clock())
    joins, mail = entering(asked, "join_tenant", "jwt"), verified_mail(token)
    wiring.tenancy().people.join(claims.issuer, claims.subject, mail, of_tenant=tenant, around=joins)
    known = fresh.person(tenant, claims.issuer, claims.subject)
    if known is None:
        raise NotFound(NO_INVITATION)
    return Joined(tenant, known[0].subject, known[0].role)
