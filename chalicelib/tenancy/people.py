"""The people of tenants: invited by their owners, joined by signing in, gone with everything that was theirs.

| document                       | under       | says                                                    |
|--------------------------------|-------------|---------------------------------------------------------|
| `member#<subject>`             | tenant      | Member: their role, and who they are once they joined   |
| `person#<digest>`              | tenant      | Person: which member an issuer's subject is             |
| `person#<digest>#<tenant>`     | `~platform` | Person: the same, by which somebody's tenants are found |
| `invitation#<digest>#<tenant>` | `~platform` | Person: which member a mail address or subject may be   |

The member's document alone says who belongs to a tenant. All others lead to it, and are believed only where it agrees:
whoever dies between two writes leaves one that leads nowhere, and repeating the change completes it.

A mail address is what an issuer has verified, whatever its case. Anything else is the subject itself. So nobody comes
in by calling themselves, at an issuer that lets them, what another's mail address is.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import get_args

import msgspec

from chalicelib.clock import Clock
from chalicelib.documents import PLATFORM, Document
from chalicelib.refusal import Conflict, Malformed
from chalicelib.tenancy.records import Records, text, value
from chalicelib.tenancy.sessions import end_sessions
from chalicelib.tenancy.tenant import Key, Member, Role, RoleName, Roles, Subject, Tenant


class Person(msgspec.Struct, frozen=True):
    """Which member of which tenant somebody is, or may become."""

    tenant: str
    subject: Subject


Around = Callable[[str, str], AbstractContextManager[object]]
"""`around(tenant, subject)`: within it a member joins, once."""


def unobserved(_tenant: str, _subject: str) -> AbstractContextManager[object]:
    """Around, where nobody wants to know."""
    return nullcontext()


class People:
    """Every change of members and of what they may be. Raises NotFound, Conflict; StoreUnavailable."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def members(self, tenant_id: str) -> Sequence[Member]:
        return [value(document, Member) for document in self._records.under(tenant_id, "member#")]

    def put(self, tenant_id: str, subject: str, role: RoleName) -> Member:
        """Invite somebody, or change a member's role.

        Raises Malformed for a role that there is not; Conflict where the tenant would be left without an owner.
        """
        self._must_be_there(tenant_id, role)
        subject = self._as_listed(tenant_id, subject)
        name = member_document(subject)
        held = self._records.held(tenant_id, name)
        if held is None:
            self._end_keys(tenant_id, subject)  # of whoever was called so, where their removal broke off
            member = Member(subject, role, added_ms=self._clock())
        else:
            member = msgspec.structs.replace(value(held, Member), role=role)
            if role != "owner":
                self._keep_an_owner(held)
        try:
            if member.joined_ms is None:
                self._lead(PLATFORM, f"{_invitations(subject)}{tenant_id}", Person(tenant_id, subject))
            self._records.write(Document(tenant_id, name, text(member), held.version if held else 0))
        finally:
            self._records.bump(tenant_id)
        return member

    def join(
        self, issuer: str, sub: str, verified_mail: str | None, *, of_tenant: str | None, around: Around = unobserved
    ) -> Sequence[str]:
        """Accept every invitation of this person; the tenants that they have joined by that.

        `verified_mail`: what the issuer says that it has verified. `of_tenant`: the tenant whose own issuer it is,
        whose word counts there and nowhere else; None for an issuer of the operator's. Whoever is a member of a tenant
        already stays who they are there.
        """
        mails = [verified_mail] if verified_mail and "@" in verified_mail else []
        joined = []
        for name in mails if "@" in sub else [sub, *mails]:
            for document in self._records.under(PLATFORM, _invitations(name)):
                invited = value(document, Person)
                if of_tenant in (None, invited.tenant) and self._accept(invited, issuer, sub, around):
                    self._records.delete(document)
                    joined.append(invited.tenant)
        return joined

    def remove(self, tenant_id: str, subject: str) -> None:
        """Their keys and sessions open nothing from the next request on, and their streams end within seconds.

        Raises Conflict where the tenant would be left without an owner.
        """
        subject = self._as_listed(tenant_id, subject)
        try:
            held = self._records.get(tenant_id, member_document(subject), f"member {subject}")
            self._keep_an_owner(held)
            self._records.delete(held)
            # After the member: whoever makes a key of theirs just now finds them gone, or is found here. A key that
            # somebody else changes just now opens nothing without its member, and ends when they are invited again.
            with suppress(Conflict):
                self._end_keys(tenant_id, subject)
                end_sessions(self._records, tenant_id, subject)
                self._forget(tenant_id, value(held, Member))
        finally:
            self._records.bump(tenant_id)

    def tenants_of(self, issuer: str, sub: str) -> Iterator[tuple[str, Member]]:
        """Every tenant that this person has joined, and who they are there."""
        for document in self._records.under(PLATFORM, f"{person_document(issuer, sub)}#"):
            person = value(document, Person)
            member = self._member(person)
            if member is not None and member.is_called(issuer, sub):
                yield person.tenant, member

    def put_roles(self, tenant_id: str, roles: Roles) -> Tenant:
        """These are the tenant's own roles, and no other, from the next request of each member and their keys on.

        Raises Conflict where a member holds one that would be gone.
        """

        def changed(tenant: Tenant) -> Tenant:
            for member in self.members(tenant_id):
                if member.role not in roles and member.role not in get_args(Role):
                    raise Conflict(f"{member.subject} holds the role {member.role}. Give them another one first.")
            return msgspec.structs.replace(tenant, roles=roles)

        return self._records.change_tenant(tenant_id, changed)

    def _as_listed(self, tenant_id: str, subject: str) -> str:
        """As the member with this mail address was invited, in whichever case: one person is not two members, of whom
        one is left when the other is removed."""
        if "@" not in subject or self._records.held(tenant_id, member_document(subject)) is not None:
            return subject
        same = (each.subject for each in self.members(tenant_id) if each.subject.lower() == subject.lower())
        return next(same, subject)

    def _must_be_there(self, tenant_id: str, role: RoleName) -> None:
        if role in get_args(Role):
            return
        tenant = value(self._records.get(tenant_id, "tenant", f"tenant {tenant_id}"), Tenant)
        if tenant.role(role) is None:
            known = ", ".join((*get_args(Role), *tenant.roles))
            raise Malformed(f"There is no role {role!r}. There are: {known}.", field="role")

    def _keep_an_owner(self, leaving: Document) -> None:
        """Before an owner ceases to be one: see that another stays, whatever is being done at the same time.

        For one who has joined, another who has: who is only invited may never come. That other one's document is
        written again as it is. Should somebody be removing that owner just now, counting on ours in turn, then each has
        moved the version that the other one read, and both are refused.
        """
        member = value(leaving, Member)
        if member.role != "owner":
            return None
        for document in self._records.under(leaving.tenant, "member#"):
            other = value(document, Member)
            stays = other.joined_ms is not None or member.joined_ms is None
            if document.name != leaving.name and other.role == "owner" and stays:
                return self._records.write(document)
        raise Conflict(
            "This is the last member who is an owner. Make another one an owner first."
            if member.joined_ms is None
            else "This is the last owner who has joined. Make another member who has joined an owner first."
        )

    def _accept(self, invited: Person, issuer: str, sub: str, around: Around) -> bool:
        """Whether the person is the invited member now."""
        held = self._records.held(invited.tenant, member_document(invited.subject))
        name = person_document(issuer, sub)
        known = self._records.held(invited.tenant, name)
        already = known and self._member(value(known, Person))
        if held is None or (already and already.is_called(issuer, sub)):
            return False
        member = value(held, Member)
        if member.joined_ms is None:
            member = msgspec.structs.replace(member, issuer=issuer, sub=sub, joined_ms=self._clock())
            with around(invited.tenant, invited.subject):
                self._records.replace(held, member)
        if not member.is_called(issuer, sub):
            return False
        self._lead(PLATFORM, f"{name}#{invited.tenant}", invited)
        self._lead(invited.tenant, name, invited)
        return True

    def _member(self, person: Person) -> Member | None:
        held = self._records.held(person.tenant, member_document(person.subject))
        return None if held is None else value(held, Member)

    def _end_keys(self, tenant_id: str, subject: str) -> None:
        for document in self._records.under(tenant_id, "key#"):
            key = value(document, Key)
            if key.member == subject and key.revoked_ms is None:
                self._records.write(msgspec.structs.replace(document, text=text(key.revoked(self._clock()))))

    def _forget(self, tenant_id: str, member: Member) -> None:
        """All that leads to a member who is gone."""
        name = person_document(member.issuer, member.sub)
        leading = [(PLATFORM, f"{_invitations(member.subject)}{tenant_id}")]
        if member.joined_ms is not None:
            leading += [(PLATFORM, f"{name}#{tenant_id}"), (tenant_id, name)]
        for under, each in leading:
            document = self._records.held(under, each)
            if document is not None and value(document, Person).subject == member.subject:
                self._records.delete(document)

    def _lead(self, under: str, name: str, person: Person) -> None:
        """See to it that the document of this name leads to the member."""
        held = self._records.held(under, name)
        if held is None or value(held, Person) != person:
            self._records.write(Document(under, name, text(person), held.version if held else 0))


def member_document(subject: str) -> str:
    """The name of the document that says what somebody may do."""
    return f"member#{subject}"


def person_document(issuer: str, sub: str) -> str:
    """The name of the document that says which member somebody is; in JSON, so that no two pairs read alike."""
    return f"person#{_digest(msgspec.json.encode((issuer, sub)))}"


def _invitations(name: str) -> str:
    """What the names of all invitations of a mail address or subject begin with."""
    return f"invitation#{_digest((name.lower() if '@' in name else name).encode())}#"


def _digest(of: bytes) -> str:
    return hashlib.sha256(of).hexdigest()
