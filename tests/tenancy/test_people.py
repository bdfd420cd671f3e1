"""Who belongs to a tenant: invited, joined by signing in, gone with all that was theirs."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec
import pytest

from chalicelib.documents import PLATFORM, Document
from chalicelib.refusal import Conflict, NotFound, StoreUnavailable
from chalicelib.tenancy import Tenancy
from chalicelib.tenancy.people import Person, person_document
from chalicelib.tenancy.snapshot import MOST_PEOPLE, Snapshots
from chalicelib.tenancy.tenant import CustomRole, Member, Scopes
from tests.small_deployments import T0, Deployment, Store
from tests.tenancy.interleaving import Stepped
from tests.tenancy.members import OURS, THEIRS, deployed, joined, opens, person


@pytest.fixture
def there(store: Store) -> Deployment:
    return deployed(store)


# invitations


def test_whoever_signs_in_joins_every_tenant_that_invited_them(there: Deployment) -> None:
    people = there.tenancy.people
    people.put("acme", "Ada@Example.com", "developer")
    people.put("bolt", "sub-1", "viewer")
    there.clock.now_ms += 1_000
    assert sorted(people.join(OURS, "sub-1", "ada@example.COM", of_tenant=None)) == ["acme", "bolt"]
    assert people.members("acme") == [Member("Ada@Example.com", "developer", T0, OURS, "sub-1", T0 + 1_000)]
    found = {tenant: member.subject for tenant, member in people.tenants_of(OURS, "sub-1")}
    assert found == {"acme": "Ada@Example.com", "bolt": "sub-1"}
    assert people.join(OURS, "sub-1", "ada@example.com", of_tenant=None) == [], "once"


class Stranger(NamedTuple):
    """Somebody whom an invitation is not for."""

    issuer: str = OURS
    sub: str = "x"
    mail: str | None = None
    of_tenant: str | None = None


@pytest.mark.parametrize(
    "stranger",
    [
        Stranger(),
        Stranger(mail="bob@example.com"),
        Stranger(sub="ada@example.com"),  # who calls themselves so, at an issuer that has not verified it
        Stranger(sub="ADA-1"),
        Stranger(mail="ada-1"),
        Stranger(issuer=THEIRS, mail="ada@example.com", of_tenant="bolt"),
        Stranger(issuer=THEIRS, sub="ada-1", of_tenant="bolt"),
    ],
)
def test_an_invitation_is_for_a_verified_address_or_a_subject_and_of_no_other_tenants_issuer(
    there: Deployment, stranger: Stranger
) -> None:
    people = there.tenancy.people
    for invited in ("ada@example.com", "ada-1"):
        people.put("acme", invited, "owner")
    before = people.members("acme")
    assert people.join(stranger.issuer, stranger.sub, stranger.mail, of_tenant=stranger.of_tenant) == []
    assert people.members("acme") == before
    assert person(there.path().snapshots.fresh, stranger.sub, issuer=stranger.issuer) is None


def test_a_tenants_own_issuer_lets_in_whom_that_tenant_invited(there: Deployment) -> None:
    for tenant in ("acme", "bolt"):
        there.tenancy.people.put(tenant, "ada@example.com", "viewer")
    assert there.tenancy.people.join(THEIRS, "1", "ada@example.com", of_tenant="bolt") == ["bolt"]


def test_an_invitation_is_accepted_by_the_first_who_may(there: Deployment) -> None:
    people = there.tenancy.people
    people.put("acme", "ada@example.com", "viewer")
    assert people.join(OURS, "first", "ada@example.com", of_tenant=None) == ["acme"]
    people.put("acme", "ada@example.com", "owner")  # a change of role invites nobody again
    assert people.join(OURS, "second", "ada@example.com", of_tenant=None) == []
    assert person(there.path().snapshots.fresh, "second") is None


def test_who_is_a_member_already_stays_who_they_are(there: Deployment) -> None:
    ada = joined(there, role="viewer")
    there.tenancy.people.put("acme", "ada@example.com", "owner")
    assert there.tenancy.people.join(OURS, "ada", "ada@example.com", of_tenant=None) == []
    assert person(there.path().snapshots.fresh) == ada


def test_a_change_of_role_keeps_who_somebody_is(there: Deployment) -> None:
    ada = joined(there)
    there.clock.now_ms += 1_000
    assert there.tenancy.people.put("acme", "ada", "viewer") == msgspec.structs.replace(ada, role="viewer")


def test_an_invitation_that_is_taken_back_is_worth_nothing(there: Deployment) -> None:
    there.tenancy.people.put("acme", "ada@example.com", "viewer")
    there.tenancy.people.remove("acme", "ada@example.com")
    assert there.tenancy.people.join(OURS, "ada", "ada@example.com", of_tenant=None) == []
    assert list(there.store.documents.under(PLATFORM, "invitation#")) == []


def test_a_person_is_one_member_in_whichever_case_their_address_is_written(there: Deployment) -> None:
    people = there.tenancy.people
    people.put("acme", "Ada@example.com", "developer")
    people.join(OURS, "ada", "ada@example.com", of_tenant=None)
    changed = people.put("acme", "ada@EXAMPLE.com", "viewer")
    assert people.members("acme") == [changed]
    assert (changed.subject, changed.role, changed.joined_ms is None) == ("Ada@example.com", "viewer", False)
    people.remove("acme", "ADA@example.com")
    assert people.members("acme") == []
    assert people.join(OURS, "ada", "ada@example.com", of_tenant=None) == []
    people.put("acme", "Sub-1", "viewer")
    people.put("acme", "sub-1", "viewer")
    assert len(people.members("acme")) == 2, "subjects are letter by letter"


def test_nothing_of_somebody_who_is_gone_is_left(there: Deployment) -> None:
    before = _named(there)
    joined(there)
    assert len(_named(there)) == len(before) + 3
    there.tenancy.people.remove("acme", "ada")
    assert _named(there) == before
    assert list(there.tenancy.people.tenants_of(OURS, "ada")) == []


def _named(there: Deployment) -> list[str]:
    """All documents in which people are."""
    kinds = ("member#", "person#", "invitation#", "key#")
    places = [(tenant, kind) for tenant in ("acme", PLATFORM) for kind in kinds]
    return [document.name for tenant, kind in places for document in there.store.documents.under(tenant, kind)]


class Dying:
    """Documents of a process that dies after so many writes."""

    def __init__(self, there: Deployment, writes: int) -> None:
        documents = there.store.documents
        self.get, self.under, self.tenants = documents.get, documents.under, documents.tenants
        self._documents = documents
        self._left = writes

    def put(self, document: Document) -> None:
        self._count()
        self._documents.put(document)

    def delete(self, document: Document) -> None:
        self._count()
        self._documents.delete(document)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise StoreUnavailable("planned")


@pytest.mark.parametrize("writes", range(4))
def test_signing_in_that_died_half_way_is_completed_by_signing_in_again(writes: int) -> None:
    there = deployed()
    there.tenancy.people.put("acme", "ada", "viewer")
    dying = Tenancy(Dying(there, writes), there.store.meters, there.clock, there.chance)
    with suppress(StoreUnavailable):
        dying.people.join(OURS, "ada", None, of_tenant=None)
    there.tenancy.people.join(OURS, "ada", None, of_tenant=None)
    assert person(there.path().snapshots.fresh) is not None
    assert [tenant for tenant, _ in there.tenancy.people.tenants_of(OURS, "ada")] == ["acme"]
    assert there.tenancy.people.join(OURS, "eve", "ada", of_tenant=None) == []


@pytest.mark.parametrize("writes", range(4))
def test_whoever_is_invited_again_after_a_removal_that_died_half_way_finds_nothing_of_before(writes: int) -> None:
    there = deployed()
    joined(there)
    _, text = there.tenancy.create_key("acme", "developer", member="ada")
    dying = Tenancy(Dying(there, writes), there.store.meters, there.clock, there.chance)
    with pytest.raises(StoreUnavailable):
        dying.people.remove("acme", "ada")
    with suppress(NotFound):
        there.tenancy.people.remove("acme", "ada")
    there.tenancy.people.put("acme", "ada", "owner")
    fresh = there.path().snapshots.fresh
    assert person(fresh) is None
    assert not opens(there, fresh, text.text)
    there.tenancy.people.join(OURS, "ada", None, of_tenant=None)
    assert not opens(there, fresh, text.text)


# what a gateway knows of them


def readings(there: Deployment) -> tuple[Snapshots, Sequence[str]]:
    """A gateway's, and what it asks of the store."""
    asked: list[str] = []
    documents = Stepped(there.store.documents, lambda: asked.append("document"))
    return Snapshots(documents, there.store.meters), asked


def test_a_person_is_found_by_every_reading_and_remembered(there: Deployment) -> None:
    ada = joined(there)
    snapshots, asked = readings(there)
    assert person(snapshots.held) is None
    assert asked == []
    assert person(snapshots.cached) == ada
    read = len(asked)
    assert [person(reading) for reading in (snapshots.held, snapshots.cached, snapshots.fresh)] == [ada] * 3
    assert len(asked) == read, "no document is read again"


def test_a_warm_gateway_hears_of_a_persons_role_and_end(there: Deployment) -> None:
    joined(there)
    snapshots = there.path().snapshots
    person(snapshots.cached)
    there.tenancy.people.put("acme", "ada", "viewer")
    changed = person(snapshots.fresh)
    assert changed is not None and changed.role == "viewer"
    there.tenancy.people.remove("acme", "ada")
    assert person(snapshots.fresh) is None
    snapshots.fresh("acme")  # as whatever hears of the new epoch does
    assert person(snapshots.cached) is None


def test_a_person_is_known_by_their_issuer_and_at_their_tenant_only(there: Deployment) -> None:
    joined(there)
    fresh = there.path().snapshots.fresh
    assert person(fresh, issuer=THEIRS) is person(fresh, tenant="bolt") is person(fresh, tenant="nobody") is None


def test_so_many_people_are_remembered_and_no_more() -> None:
    deployment = deployed()
    snapshots = deployment.path().snapshots
    names = [f"m{number}" for number in range(MOST_PEOPLE + 1)]
    held = Member("", "viewer", 0, OURS, "", 0)
    for name in names:
        member = msgspec.structs.replace(held, subject=name, sub=name)
        leading = {f"member#{name}": member, person_document(OURS, name): Person("acme", name)}
        for document, value in leading.items():
            deployment.store.documents.put(Document("acme", document, msgspec.json.encode(value).decode()))
        assert person(snapshots.cached, name) == member
    assert person(snapshots.held, names[0]) is None
    assert person(snapshots.held, names[-1]) is not None


# owners


def test_an_owner_who_has_joined_stays_until_another_has(there: Deployment) -> None:
    people = there.tenancy.people
    joined(there, "ada", "owner")
    people.put("acme", "bob", "owner")
    for leave in (lambda: people.remove("acme", "ada"), lambda: people.put("acme", "ada", "viewer")):
        with pytest.raises(Conflict, match="last owner who has joined"):
            leave()
    people.join(OURS, "bob", None, of_tenant=None)
    people.remove("acme", "ada")
    assert [member.subject for member in people.members("acme")] == ["bob"]


def test_an_owner_who_never_came_may_be_taken_back_where_another_stays(there: Deployment) -> None:
    joined(there, "ada", "owner")
    there.tenancy.people.put("acme", "bob", "owner")
    there.tenancy.people.remove("acme", "bob")


def test_an_owner_who_is_narrowed_is_not_the_owner_who_stays(there: Deployment) -> None:
    there.tenancy.people.put_roles("acme", {"boss": CustomRole("owner", Scopes(("model-a",)))})
    joined(there, "ada", "owner")
    joined(there, "bob", "boss")
    with pytest.raises(Conflict):
        there.tenancy.people.remove("acme", "ada")
