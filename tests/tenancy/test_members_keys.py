"""What a member's keys may do: never more than the member, and nothing without them."""

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.identity import ApiKey, identify
from chalicelib.identity.roles import PERMISSIONS
from chalicelib.refusal import Conflict, Malformed, NotFound
from chalicelib.tenancy import Tenancy
from chalicelib.tenancy.snapshot import Snapshots
from chalicelib.tenancy.tenant import CustomRole, Key, Role, Scopes
from tests.small_deployments import T0, Deployment, Store
from tests.tenancy.interleaving import Interrupted, in_every_order
from tests.tenancy.members import deployed, joined, opens, person


@pytest.fixture
def there(store: Store) -> Deployment:
    return deployed(store)


def effective(there: Deployment, text: str, *, warm: Snapshots | None = None) -> tuple[Role, Scopes]:
    reading = (warm or there.path().snapshots).fresh
    principal, _ = identify(ApiKey(text), "acme", reading, there.clock())
    return principal.role, principal.scopes


@pytest.mark.parametrize("of_key", get_args(Role))
@pytest.mark.parametrize("of_member", get_args(Role))
def test_a_members_key_does_what_both_may(of_key: Role, of_member: Role) -> None:
    there = deployed()
    there.tenancy.people.put("acme", "ada", of_member)
    _, text = there.tenancy.create_key("acme", of_key, member="ada")
    role, _ = effective(there, text.text)
    assert PERMISSIONS[role] == PERMISSIONS[of_key] & PERMISSIONS[of_member]


def test_a_members_key_follows_their_role_and_ends_with_them(there: Deployment) -> None:
    joined(there, "bob", "owner")
    joined(there, role="owner")
    key, text = there.tenancy.create_key("acme", "developer", member="ada")
    service = there.key(role="developer")
    warm = there.path().snapshots
    assert effective(there, text.text, warm=warm)[0] == "developer"
    there.tenancy.people.put("acme", "ada", "viewer")
    assert effective(there, text.text, warm=warm)[0] == "viewer"
    there.tenancy.people.put("acme", "ada", "owner")
    assert effective(there, text.text, warm=warm)[0] == "developer"
    there.tenancy.people.remove("acme", "ada")
    assert not opens(there, warm.fresh, text.text)
    assert there.tenancy.key("acme", key.id).revoked_ms == T0
    assert opens(there, warm.fresh, service), "the tenant's own outlasts whoever made it"


def test_a_key_is_made_of_no_member_that_there_is_not(there: Deployment) -> None:
    with pytest.raises(NotFound):
        there.tenancy.create_key("acme", "viewer", member="ada")


def test_a_rotated_key_stays_its_members(there: Deployment) -> None:
    joined(there)
    key, _ = there.tenancy.create_key("acme", "viewer", member="ada")
    assert there.tenancy.rotate_key("acme", key.id, 0)[0].member == "ada"


def test_no_key_outlives_a_member_who_is_removed_while_it_is_made() -> None:
    def hold(there: Deployment) -> None:
        there.tenancy.people.put("acme", "ada", "developer")
        fresh = there.path().snapshots.fresh
        for key in there.tenancy.keys("acme"):
            assert fresh.keyed(Key, "acme", key.id, lambda key: key.valid(T0)) is None

    def there() -> Deployment:
        deployment = deployed()
        joined(deployment)
        return deployment

    acts = (
        lambda tenancy: tenancy.create_key("acme", "developer", member="ada"),
        lambda tenancy: tenancy.people.remove("acme", "ada"),
    )
    assert in_every_order(there, acts, hold) > 20


# roles of a tenant's own


def test_a_role_of_the_tenants_own_is_its_base_narrowed(there: Deployment) -> None:
    there.tenancy.people.put_roles("acme", {"chatter": CustomRole("developer", Scopes(("model-a",), ("openai",)))})
    there.tenancy.people.put("acme", "ada", "chatter")
    _, text = there.tenancy.create_key("acme", "owner", member="ada")
    warm = there.path().snapshots
    assert effective(there, text.text, warm=warm) == ("developer", Scopes(("model-a",), ("openai",)))
    there.tenancy.people.put_roles("acme", {"chatter": CustomRole("viewer")})
    assert effective(there, text.text, warm=warm) == ("viewer", Scopes())


def test_a_role_that_there_is_not_is_given_to_nobody_and_one_that_is_held_stays(there: Deployment) -> None:
    people = there.tenancy.people
    with pytest.raises(Malformed, match="There are: owner, developer, analyst, viewer"):
        people.put("acme", "ada", "chatter")
    people.put_roles("acme", {"chatter": CustomRole("developer")})
    people.put("acme", "ada", "chatter")
    with pytest.raises(Conflict, match="ada holds the role chatter"):
        people.put_roles("acme", {})


def test_whoever_holds_a_role_that_is_gone_all_the_same_comes_in_no_more(there: Deployment) -> None:
    """Of two changes at once, one gives a role and one takes it away."""
    people = there.tenancy.people
    people.put_roles("acme", {"chatter": CustomRole("developer")})
    joined(there)
    documents = Interrupted(there.store.documents, 1, lambda: people.put_roles("acme", {}))
    late = Tenancy(documents, there.store.meters, there.clock, there.chance)
    late.people.put("acme", "ada", "chatter")
    _, text = there.tenancy.create_key("acme", "viewer", member="ada")
    fresh = there.path().snapshots.fresh
    assert (person(fresh), opens(there, fresh, text.text)) == (None, False)


some = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3, unique=True).map(tuple)
surfaces = st.lists(st.sampled_from(["openai", "native"]), max_size=2, unique=True).map(tuple)
tools = st.lists(st.sampled_from(["get_*", "get_mail", "*"]), max_size=2, unique=True).map(tuple)
scopes = st.builds(Scopes, pools=some, surfaces=surfaces, tools=tools)


@given(scopes, scopes)
def test_what_two_narrowings_leave_is_what_both_allow(mine: Scopes, theirs: Scopes) -> None:
    both = mine.within(theirs)
    for name in ("a", "b", "c", "d"):
        assert _allows(both.pools, name) == (_allows(mine.pools, name) and _allows(theirs.pools, name))
    for name in ("openai", "native", "tomorrow's"):
        assert _allows(both.surfaces, name) == (_allows(mine.surfaces, name) and _allows(theirs.surfaces, name))


def _allows(narrowed: Sequence[str], name: str) -> bool:
    return not narrowed or name in narrowed


def test_the_first_revocation_of_a_key_counts() -> None:
    key = Key("acme.a", "acme", "", "viewer")
    assert key.revoked(1).revoked(2).revoked_ms == 1
