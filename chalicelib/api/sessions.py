"""Members who sign in by a browser, and the sessions that their pages have from then on.

A session is in a cookie that no script reads; which requests of a browser's it counts for, `http.own_pages` says.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from chalicelib import wiring
from chalicelib.http.callers import Caller
from chalicelib.http.doors import Reply
from chalicelib.http.entering import entering
from chalicelib.http.incoming import Incoming
from chalicelib.http.own_pages import CLOSED, SIGN_IN, cookie, session_sent, signed_in, signed_out, signing_in
from chalicelib.http.problems import status_of
from chalicelib.http.surface import Surface, drawn
from chalicelib.identity import SessionCookie
from chalicelib.identity.roles import PERMISSIONS
from chalicelib.refusal import Forbidden, NoCapacity, NotFound, Refusal, Unauthenticated
from chalicelib.tenancy.key_text import KeyText, parse
from chalicelib.tenancy.sessions import Lifetime, Session
from chalicelib.tenancy.tenant import is_a_tenants

if TYPE_CHECKING:
    from chalicelib.identity.signin.attempt import Attempt

surface = Surface(__name__, "management", title="Sessions", prefix="/tenants/{tenant}", auth="key")
public = Surface(__name__, "native", title="Sessions", prefix="/signin", auth="none")

LONGEST_AGENT = 100
CLOSED_HERE = "Nobody signs in here by a browser: the operator of the service has set no CLOISTER_BROWSER_CLIENT_ID."
BEGIN_AGAIN = "This sign-in did not come to its end, or was begun elsewhere, or too long ago. Begin again."
NO_MEMBER = (
    "The identity provider knows you, but you are no member of this tenant, or there is no such tenant. Ask its owners "
    "to invite you by your mail address, then sign in again."
)
NO_SESSION = "Only a session is renewed, and you have come with none. A key lasts as it is; bring the next token."


class ComeBack(msgspec.Struct, frozen=True):
    """What a browser brings along from the identity provider's page."""

    code: str = ""
    state: str = ""


class SignedOut(msgspec.Struct, frozen=True):
    """`issuer_logout`: where to sign out at the identity provider, too; empty: nowhere, or it does not say just now."""

    issuer_logout: str


class Renewal(msgspec.Struct, frozen=True):
    """Until when the session lasts now, and `ends_ms`: until when at most."""

    expires_ms: int
    ends_ms: int


class SessionView(msgspec.Struct, frozen=True):
    """A session as it may be shown. `current`: it is the one that asks."""

    id: str
    member: str
    created_ms: int
    renewed_ms: int
    expires_ms: int
    ends_ms: int
    address: str
    agent: str
    current: bool


class SessionList(msgspec.Struct, frozen=True):
    """Sessions that are not over, the newest first."""

    sessions: list[SessionView]


@public.door(
    "GET", "/signin/{tenant}", permission="public",
    summary="Sign in at a tenant, by a browser", status=302,
)  # fmt: skip
def begin_sign_in(asked: Incoming) -> Reply:
    """To the sign-in page of the operator's issuer, from where the browser comes back to `/signin/callback`."""
    # Not at the top: nobody else pays for loading it.
    from chalicelib.identity.signin.attempt import SEED_BYTES, begun

    sign_in, path, tenant = wiring.sign_in(), wiring.path(), asked.parameters["tenant"]
    if sign_in is None or not is_a_tenants(tenant):
        raise NotFound(CLOSED_HERE if sign_in is None else "No tenant has such a name.")
    attempt = begun(tenant, path.randomness(SEED_BYTES))
    headers = {"Location": sign_in.page(attempt, path.clock()), "Cache-Control": "no-store"}
    return Reply(b"", headers, 302, [signing_in(attempt.text)])


@public.door(
    "GET", "/signin/callback", permission="public", query=ComeBack,
    summary="Come back from the sign-in page", other_forms={"text/html": "A page that goes on to `/`"},
)  # fmt: skip
def end_sign_in(asked: Incoming) -> Reply:
    """With a code, of the sign-in that this browser has begun: then its session begins.

    Whoever was invited by the mail address that the issuer has verified joins by this.
    """
    from chalicelib.identity.signin.attempt import attempt_of

    attempt = attempt_of(cookie(asked.headers, SIGN_IN) or "")
    back = asked.query_as(ComeBack)
    if attempt is None or not attempt.is_answered_by(back.state):
        return _no_further(Unauthenticated(BEGIN_AGAIN), asked, None)
    try:
        session, text = _begun(asked, attempt, back.code)
    except (Unauthenticated, NotFound, NoCapacity) as refusal:
        return _no_further(refusal, asked, attempt.tenant)
    cookies = [_cookie(session, text), signing_in("")]
    # Not by a redirect: what follows it comes from the issuer's site, and a browser takes no strict cookie along there.
    return _page("You are signed in.", _home(), "Go on", 200, cookies, goes_on=True)


@public.door(
    "POST", "/signin/{tenant}/out", permission="public", for_narrowed="within",
    summary="Sign out", returns=SignedOut,
)  # fmt: skip
def sign_out(asked: Incoming) -> Reply:
    """The session ends everywhere, and its running streams within seconds; the cookie is taken back.

    At the identity provider you are signed in still: `issuer_logout` is where that ends.
    """
    tenant = asked.parameters["tenant"]
    given = parse(session_sent(asked.method, tenant, asked.headers) or "", "cs")
    if given is not None and given.tenant == tenant:
        _end_if_opened_by(asked, given)
    out, sign_in = "", wiring.sign_in()
    with suppress(NoCapacity):
        out = sign_in.out(wiring.path().clock()) if sign_in is not None else ""
    reply = drawn(SignedOut(out), 200)
    reply.cookies = [signed_out(tenant)] if is_a_tenants(tenant) else []
    return reply


@surface.door(
    "POST", "/tenants/{tenant}/session/renew", permission="sessions.manage", for_narrowed="within",
    summary="Renew the session that you come with", returns=Renewal, for_every_surface=True,
)  # fmt: skip
def renew_session(asked: Incoming, _: Caller) -> Reply:
    """It gets another secret, in its cookie, and lasts for as long again: but no longer than one may, of which
    `ends_ms` tells. Shortly after it was renewed, nothing changes."""
    given = _sent(asked)
    if given is None:
        raise Forbidden(NO_SESSION)
    session, new = wiring.tenancy().sessions.renew(given, _lifetime())
    reply = drawn(Renewal(session.expires_ms, session.ends_ms), 200)
    reply.cookies = [_cookie(session, new)] if new is not None else []
    return reply


@surface.door(
    "GET", "/tenants/{tenant}/sessions", permission="sessions.manage",
    summary="List the sessions", returns=SessionList,
)  # fmt: skip
def list_sessions(asked: Incoming, caller: Caller) -> SessionList:
    """One's own; whoever manages members sees everybody's. Never a secret."""
    given = _sent(asked)
    current = given.key_id if given else None
    every = wiring.tenancy().sessions.sessions(caller.principal.tenant)
    seen = sorted((each for each in every if _may_see(caller, each)), key=lambda each: -each.created_ms)
    return SessionList([_view(each, current) for each in seen])


@surface.door(
    "DELETE", "/tenants/{tenant}/sessions/{session}", permission="sessions.manage", for_narrowed="closed",
    summary="End a session", status=204,
)  # fmt: skip
def end_session(asked: Incoming, caller: Caller) -> None:
    """From the next request on, everywhere; its running streams end within seconds.

    One's own; whoever manages members ends everybody's.
    """
    name = asked.parameters["session"]
    session = wiring.tenancy().sessions.session(caller.principal.tenant, name)
    if not _may_see(caller, session):
        raise NotFound(f"There is no session {name}.")
    wiring.tenancy().sessions.end(session)


def _begun(asked: Incoming, attempt: "Attempt", code: str) -> tuple[Session, KeyText]:
    """Raises Unauthenticated, NotFound; NoCapacity."""
    sign_in, path, rooms = wiring.sign_in(), wiring.path(), wiring.tenancy()
    if sign_in is None:
        raise NotFound(CLOSED_HERE)
    identity = sign_in.identity(attempt, code, path.clock())
    joins = entering(asked, "join_tenant", "page")
    rooms.people.join(identity.issuer, identity.subject, identity.mail, of_tenant=None, around=joins)
    known = path.snapshots.fresh.person(attempt.tenant, identity.issuer, identity.subject)
    if known is None:
        raise NotFound(NO_MEMBER)
    agent = "".join(filter(str.isprintable, asked.headers.get("user-agent", "")))[:LONGEST_AGENT]
    with entering(asked, "sign_in", "page")(attempt.tenant, known[0].subject) as outcome:
        session, text = rooms.sessions.begin(attempt.tenant, known[0], _lifetime(), asked.source_ip, agent)
        outcome.made = session.id
    return session, text


def _sent(asked: Incoming) -> KeyText | None:
    """The session that the caller came with; None: they came with something else."""
    return parse(asked.credential.text, "cs") if isinstance(asked.credential, SessionCookie) else None


def _end_if_opened_by(asked: Incoming, given: KeyText) -> None:
    sessions = wiring.tenancy().sessions
    with suppress(NotFound):
        session = sessions.session(given.tenant, given.key_id)
        if session.until_ms(given, wiring.path().clock()) is not None:
            with entering(asked, "sign_out", "session")(session.tenant, session.member):
                sessions.end(session)


def _may_see(caller: Caller, session: Session) -> bool:
    by = caller.principal
    return session.member == by.member or "members.manage" in PERMISSIONS[by.role]


def _view(session: Session, current: str | None) -> SessionView:
    return SessionView(
        id=session.id,
        member=session.member,
        created_ms=session.created_ms,
        renewed_ms=session.renewed_ms,
        expires_ms=session.expires_ms,
        ends_ms=session.ends_ms,
        address=session.address,
        agent=session.agent,
        current=session.id == current,
    )


def _lifetime() -> Lifetime:
    settings = wiring.path().settings
    return Lifetime(settings.session_idle_ms, settings.session_longest_ms)


def _cookie(session: Session, given: KeyText) -> str:
    return signed_in(session.tenant, given.text, (session.expires_ms - session.renewed_ms) // 1_000)


def _home() -> str:
    """Where our pages begin: fixed, so that no link to us leads elsewhere."""
    return f"{wiring.path().settings.public_url}/"


def _no_further(refusal: Refusal, asked: Incoming, tenant: str | None) -> Reply:
    """For people a page, which leads to where they may begin again; programs are refused as ever."""
    if "text/html" not in asked.headers.get("accept", ""):
        raise refusal
    where = f"{wiring.path().settings.public_url}/signin/{tenant}" if tenant else _home()
    # Of another sign-in that is under way nothing is lost: whoever comes with a wrong state may be sent by anybody.
    cookies = [signing_in("")] if tenant else []
    return _page(refusal.text, where, "Begin again" if tenant else "Go on", status_of(refusal, "problem"), cookies)


def _page(text: str, where: str, link: str, status: int, cookies: list[str], *, goes_on: bool = False) -> Reply:
    import html  # not for those who call

    where = html.escape(where)
    refresh = f'<meta http-equiv="refresh" content="0; url={where}">' if goes_on else ""
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{refresh}<title>Cloister</title></head>'
        f'<body><p>{html.escape(text)} <a href="{where}">{link}</a></p></body></html>\n'
    )
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "Content-Security-Policy": CLOSED,
        "Referrer-Policy": "no-referrer",  # the address of this page has the code
        "X-Content-Type-Options": "nosniff",
    }
    return Reply(page.encode(), headers, status, cookies)
