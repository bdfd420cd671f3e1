"""The sessions of members who have signed in by a browser: short, renewed, and ended everywhere at once.

| document       | under  | says                                                       |
|----------------|--------|------------------------------------------------------------|
| `session#<id>` | tenant | Session: whose it is, by which secrets, and until when     |

A session may be renewed until it has lasted for as long as one may. Each renewal makes another secret, and moves no
epoch: the secrets before it live out their time, because sandboxes remember them, and streams have begun with them; but
none of them is renewed again. Who tries to is not alone with it, for a browser has only the newest: the session ends.

It is its member's as they joined then: whoever is removed, and invited again, signs in again.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

import msgspec

from chalicelib.clock import Clock
from chalicelib.documents import Document
from chalicelib.randomness import Randomness
from chalicelib.refusal import Conflict, NotFound, Unauthenticated
from chalicelib.tenancy.key_text import KeyText, digest_of, mint
from chalicelib.tenancy.records import Records, text, value
from chalicelib.tenancy.tenant import CustomRole, Member, Role, Scopes, Subject

MOST_SESSIONS = 20
"""Of one member. The oldest ends with the next one."""

SWEPT = 50
"""Sessions that are over, that a new one removes at most."""

RENEWED_EACH = 6
"""A renewal makes another secret once a sixth of the newest one's time is over: of those before it, few live."""


class Lifetime(msgspec.Struct, frozen=True):
    """Of sessions."""

    idle_ms: int  # that nobody renews
    longest_ms: int


class Secret(msgspec.Struct, frozen=True):
    """What opens a session, for a time."""

    digest: str  # SHA-256, hexadecimal
    until_ms: int


class Session(msgspec.Struct, frozen=True):
    """Somebody signed in by a browser, as it is stored: never a secret, only digests."""

    DOCUMENT: ClassVar = "session#"

    id: str
    tenant: str
    member: Subject
    secrets: tuple[Secret, ...]  # the newest last
    created_ms: int
    renewed_ms: int
    ends_ms: int  # however often it is renewed
    address: str = ""  # from where they signed in
    agent: str = ""  # by what, as it calls itself
    role: Role = "viewer"  # this and the scopes: their member's, as of the epoch that it was read at; not stored
    scopes: Scopes = Scopes()

    @property
    def newest(self) -> Secret:
        return self.secrets[-1]

    @property
    def expires_ms(self) -> int:
        return self.newest.until_ms

    def until_ms(self, given: KeyText, now_ms: int) -> int | None:
        """Until when this opens it; None where it does not."""
        good = (secret.until_ms for secret in self.secrets if given.matches(secret.digest) and now_ms < secret.until_ms)
        return next(good, None)

    def as_of(self, member: Member, holder: CustomRole) -> "Session | None":
        """What it may do while its member holds that role; None where they are not who they were."""
        if member.joined_ms is None or member.joined_ms > self.created_ms:
            return None
        return msgspec.structs.replace(self, role=holder.base, scopes=holder.scopes)


class Sessions:
    """Every change of sessions. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records, clock: Clock, randomness: Randomness) -> None:
        self._records = records
        self._clock = clock
        self._randomness = randomness

    def begin(
        self, tenant_id: str, member: Member, lifetime: Lifetime, address: str, agent: str
    ) -> tuple[Session, KeyText]:
        """A new one, of a member who has joined: the only time that its secret is seen."""
        self._make_room(tenant_id, member.subject)
        given = mint(tenant_id, self._randomness(37), "cs")
        now_ms = max(self._clock(), member.joined_ms or 0)  # clocks differ, and no session is older than its member
        ends_ms = now_ms + lifetime.longest_ms
        session = Session(
            id=given.key_id,
            tenant=tenant_id,
            member=member.subject,
            secrets=(Secret(digest_of(given.secret), min(now_ms + lifetime.idle_ms, ends_ms)),),
            created_ms=now_ms,
            renewed_ms=now_ms,
            ends_ms=ends_ms,
            address=address,
            agent=agent,
        )
        self._records.create(Document(tenant_id, _document(session.id), text(session)), "the session")
        return session, given

    def renew(self, given: KeyText, lifetime: Lifetime) -> tuple[Session, KeyText | None]:
        """The session from now on, and what opens it; None: what opened it does still, for nearly as long.

        Raises Unauthenticated where this opens it no more, or has been replaced some time ago: then it is over.
        """
        document = self._records.held(given.tenant, _document(given.key_id))
        now_ms = self._clock()
        if document is None or value(document, Session).until_ms(given, now_ms) is None:
            raise Unauthenticated
        session = value(document, Session)
        if now_ms - session.renewed_ms < lifetime.idle_ms // RENEWED_EACH:
            return session, None
        if not given.matches(session.newest.digest):
            self.end(session)
            raise Unauthenticated
        new = msgspec.structs.replace(given, secret=mint(given.tenant, self._randomness(37), "cs").secret)
        secrets = [secret for secret in session.secrets if now_ms < secret.until_ms]
        secrets.append(Secret(digest_of(new.secret), min(now_ms + lifetime.idle_ms, session.ends_ms)))
        renewed = msgspec.structs.replace(session, secrets=tuple(secrets), renewed_ms=now_ms)
        try:
            self._records.write(msgspec.structs.replace(document, text=text(renewed)))
        except Conflict:  # another page of the same browser has just renewed it, and the browser has both answers
            return session, None
        return renewed, new

    def sessions(self, tenant_id: str) -> Sequence[Session]:
        """Those that are not over."""
        now_ms = self._clock()
        every = (value(document, Session) for document in self._records.under(tenant_id, Session.DOCUMENT))
        return [session for session in every if now_ms < session.expires_ms]

    def session(self, tenant_id: str, session_id: str) -> Session:
        return value(self._records.get(tenant_id, _document(session_id), f"session {session_id}"), Session)

    def end(self, session: Session) -> None:
        """It opens nothing from the next request on, anywhere; its running streams end within seconds. Idempotent."""
        try:
            with suppress(NotFound):
                self._records.delete(self._records.get(session.tenant, _document(session.id), "session"))
        finally:
            self._records.bump(session.tenant)

    def _make_room(self, tenant_id: str, subject: str) -> None:
        now_ms = self._clock()
        known = [(document, value(document, Session)) for document in self._records.under(tenant_id, Session.DOCUMENT)]
        for document in [document for document, session in known if session.expires_ms <= now_ms][:SWEPT]:
            with suppress(Conflict):
                self._records.delete(document)
        live = [session for _, session in known if session.member == subject and now_ms < session.expires_ms]
        live.sort(key=lambda session: session.created_ms, reverse=True)
        for session in live[MOST_SESSIONS - 1 :]:
            self.end(session)


def end_sessions(records: Records, tenant_id: str, subject: str) -> None:
    """Remove those of a member who is gone, which open nothing any more. Raises Conflict."""
    for document in records.under(tenant_id, Session.DOCUMENT):
        if value(document, Session).member == subject:
            records.delete(document)


def _document(session_id: str) -> str:
    return f"{Session.DOCUMENT}{session_id}"
