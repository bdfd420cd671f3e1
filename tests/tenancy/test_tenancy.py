"""Tenants, keys, members and pools: who wins when two change the same, and what must always be left."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.admission.limits import DEFAULT_LIMITS
from chalicelib.documents import Document
from chalicelib.pool import Pool
from chalicelib.refusal import Conflict, NotFound
from chalicelib.tenancy import Change, Tenancy
from chalicelib.tenancy.snapshot import MOST_TENANTS, Snapshots
from chalicelib.tenancy.tenant import Member, Role, Scopes, Tenant
from tests.patience import PATIENCE_S
from tests.small_deployments import T0, Deployment, Store
from tests.tenancy.interleaving import Interrupted, Stepped


@pytest.fixture
def there(store: Store) -> Deployment:
    deployment = Deployment(store)
    deployment.tenant("acme")
    return deployment


class Race(msgspec.Struct, frozen=True):
    """A change that is overtaken by another before the last of its writes."""

    late: Callable[[Tenancy, str], object]
    first: Callable[[Tenancy, str], object]
    writes: int = 1


RACES = {
    "a tenant's change under another": Race(
        lambda tenancy, _: tenancy.change_tenant("acme", Change(name="one")),
        lambda tenancy, _: tenancy.change_tenant("acme", Change(priority=9)),
    ),
    "a key's rotation under its revocation": Race(
        lambda tenancy, key: tenancy.rotate_key("acme", key, 60_000),
        lambda tenancy, key: tenancy.revoke_key("acme", key),
        writes=2,
    ),
    "a pool under another": Race(
        lambda tenancy, _: tenancy.put_pool(Pool("model-a", (), max_tokens=1)),
        lambda tenancy, _: tenancy.put_pool(Pool("model-a", (), max_tokens=2)),
    ),
    "a pool's removal under its change": Race(
        lambda tenancy, _: tenancy.delete_pool("model-a"),
        lambda tenancy, _: tenancy.put_pool(Pool("model-a", (), max_tokens=2)),
    ),
    "a member's role under another": Race(
        lambda tenancy, _: tenancy.people.put("acme", "ada", "viewer"),
        lambda tenancy, _: tenancy.people.put("acme", "ada", "analyst"),
    ),
    "a member's removal under a promotion": Race(
        lambda tenancy, _: tenancy.people.remove("acme", "ada"),
        lambda tenancy, _: tenancy.people.put("acme", "ada", "owner"),
    ),
}


@pytest.mark.parametrize("race", RACES.values(), ids=RACES)
def test_no_change_is_lost_under_another(there: Deployment, race: Race) -> None:
    there.pool("model-a")
    key, _ = there.tenancy.create_key("acme", "owner")
    there.tenancy.people.put("acme", "ada", "developer")
    seen: list[object] = []

    def overtake() -> None:
        race.first(there.tenancy, key.id)
        seen.append(everything(there))

    documents = Interrupted(there.store.documents, race.writes, overtake)
    with pytest.raises(Conflict):
        race.late(Tenancy(documents, there.store.meters, there.clock, there.chance), key.id)
    # Only a rotation writes twice: of the first write nothing is left either.
    assert [everything(there)] == seen or (race.writes == 2 and there.tenancy.keys("acme")[0].revoked_ms == T0)
    assert len(there.tenancy.keys("acme")) == 1


def everything(there: Deployment) -> object:
    return (
        there.tenancy.tenants(),
        there.tenancy.pools(),
        there.tenancy.keys("acme"),
        there.tenancy.people.members("acme"),
    )


def test_changes_at_once_are_each_whole_or_refused(there: Deployment) -> None:
    def change(number: int) -> bool:
        try:
            there.tenancy.change_tenant("acme", Change(name=f"name {number}", priority=number))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(change, range(8)))
    held = there.store.documents.get("acme", "tenant")
    tenant = there.tenancy.tenant("acme")
    assert held is not None
    assert held.version == 1 + made.count(True) > 1
    assert made[tenant.priority]
    assert tenant.name == f"name {tenant.priority}"


def test_a_tenant_is_created_once_and_a_second_creation_leaves_it_alone(there: Deployment) -> None:
    epoch = there.store.meters.read("acme")
    with pytest.raises(Conflict):
        there.tenancy.create_tenant(Tenant(id="acme", name="Another"))
    assert there.tenancy.tenant("acme").name == "Acme"
    assert there.store.meters.read("acme") == epoch


def test_what_a_change_leaves_out_stays_as_it_is(there: Deployment) -> None:
    before = there.tenancy.tenant("acme")
    after = there.tenancy.change_tenant("acme", Change(priority=0))
    assert after == msgspec.structs.replace(before, priority=0)
    assert there.tenancy.tenant("acme") == after


def test_nothing_of_a_tenant_that_is_not_there_can_be_reached(deployment: Deployment) -> None:
    tenancy = deployment.tenancy
    overlong = "x" * 5_000
    for act in (
        lambda: tenancy.tenant("bolt"),
        lambda: tenancy.tenant("~platform"),
        lambda: tenancy.change_tenant("bolt", Change(name="x")),
        lambda: tenancy.create_key("bolt", "owner"),
        lambda: tenancy.key("acme", "acme.aaaaaaaa"),
        lambda: tenancy.revoke_key("acme", overlong),
        lambda: tenancy.rotate_key("acme", "", 0),
        lambda: tenancy.people.remove("acme", overlong),
        lambda: tenancy.pool(overlong),
        lambda: tenancy.tenant(overlong),
    ):
        with pytest.raises(NotFound):
            act()


# keys


def test_the_secret_is_nowhere_in_the_store(there: Deployment) -> None:
    key, token = there.tenancy.create_key("acme", "owner", label="main", scopes=Scopes(pools=("model-a",)))
    held = there.store.documents.get("acme", f"key#{key.id}")
    assert held is not None
    assert token.secret not in held.text
    assert token.matches(key.digest)
    assert there.tenancy.keys("acme") == [key]


def test_a_rotated_key_keeps_what_it_was_for_and_names_its_heir(there: Deployment) -> None:
    old, _ = there.tenancy.create_key(
        "acme", "developer", label="ci", scopes=Scopes(pools=("model-a",)), expires_ms=T0 + 90_000
    )
    new, token = there.tenancy.rotate_key("acme", old.id, grace_ms=60_000)
    assert token.matches(new.digest)
    assert (new.role, new.label, new.scopes, new.expires_ms) == (old.role, old.label, old.scopes, old.expires_ms)
    assert there.tenancy.key("acme", old.id) == msgspec.structs.replace(old, expires_ms=T0 + 60_000, replaced_by=new.id)


def test_a_grace_period_never_outlives_the_key(there: Deployment) -> None:
    old, _ = there.tenancy.create_key("acme", "owner", expires_ms=T0 + 1_000)
    there.tenancy.rotate_key("acme", old.id, grace_ms=60_000)
    assert there.tenancy.key("acme", old.id).expires_ms == T0 + 1_000


def test_a_key_that_is_rotated_revoked_or_expired_is_not_rotated_again(there: Deployment) -> None:
    rotated, _ = there.tenancy.create_key("acme", "owner")
    there.tenancy.rotate_key("acme", rotated.id, 60_000)
    revoked, _ = there.tenancy.create_key("acme", "owner")
    there.tenancy.revoke_key("acme", revoked.id)
    expired, _ = there.tenancy.create_key("acme", "owner", expires_ms=T0)
    for key in (rotated, revoked, expired):
        with pytest.raises(Conflict):
            there.tenancy.rotate_key("acme", key.id, 0)


def test_a_revocation_keeps_its_first_instant_however_often_it_is_repeated(there: Deployment) -> None:
    key, _ = there.tenancy.create_key("acme", "owner")
    there.tenancy.revoke_key("acme", key.id)
    there.clock.now_ms += 1_000
    assert there.tenancy.revoke_key("acme", key.id).revoked_ms == T0


# members


def test_the_last_owner_can_neither_leave_nor_be_demoted(there: Deployment) -> None:
    there.tenancy.people.put("acme", "ada", "owner")
    there.tenancy.people.put("acme", "bob", "developer")
    with pytest.raises(Conflict):
        there.tenancy.people.remove("acme", "ada")
    with pytest.raises(Conflict):
        there.tenancy.people.put("acme", "ada", "viewer")
    there.tenancy.people.remove("acme", "bob")
    there.tenancy.people.put("acme", "ada", "owner")
    assert [member.role for member in there.tenancy.people.members("acme")] == ["owner"]


def test_an_owner_may_leave_when_another_stays(there: Deployment) -> None:
    for name in ("ada", "bob"):
        there.tenancy.people.put("acme", name, "owner")
    there.tenancy.people.put("acme", "ada", "viewer")
    with pytest.raises(Conflict):
        there.tenancy.people.remove("acme", "bob")


def test_a_member_keeps_the_day_they_came(there: Deployment) -> None:
    there.tenancy.people.put("acme", "ada", "owner")
    there.clock.now_ms += 1_000
    assert there.tenancy.people.put("acme", "ada", "owner").added_ms == T0


def test_owners_who_leave_at_once_never_leave_none(there: Deployment) -> None:
    """Each sees another as the one who stays, and must be refused if that one goes."""
    for _ in range(3):
        names = ["ada", "bob", "cid"]
        for name in names:
            there.tenancy.people.put("acme", name, "owner")
        together = threading.Barrier(len(names))

        def leave(name: str, together: threading.Barrier = together) -> None:
            together.wait(PATIENCE_S)
            for _ in range(5):
                with suppress(Conflict, NotFound):
                    there.tenancy.people.remove("acme", name)

        with ThreadPoolExecutor(len(names)) as threads:
            list(threads.map(leave, names))
        assert "owner" in [member.role for member in there.tenancy.people.members("acme")]


@given(st.lists(st.integers(0, 2), max_size=14), st.lists(st.booleans(), min_size=3, max_size=3))
def test_some_owner_stays_in_every_interleaving(order: list[int], demotes: list[bool]) -> None:
    """Three owners leave or step down at once, each call to the store at a moment that the test draws."""
    deployment = Deployment()
    deployment.tenant("acme")
    names = ["ada", "bob", "cid"]
    for name in names:
        deployment.tenancy.people.put("acme", name, "owner")
    acts = [_leaving(deployment, name, demote) for name, demote in zip(names, demotes, strict=True)]
    for turn in [*order, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]:
        acts[turn]()
    assert "owner" in [member.role for member in deployment.tenancy.people.members("acme")]


def _leaving(deployment: Deployment, name: str, demote: bool) -> Callable[[], None]:
    """One owner's departure; every call of the result lets it do one more call to the store, till it is done."""
    go, gone = threading.Semaphore(0), threading.Semaphore(0)
    over = threading.Event()

    def turn() -> None:
        gone.release()
        go.acquire()

    def leave() -> None:
        documents = Stepped(deployment.store.documents, turn)
        tenancy = Tenancy(documents, deployment.store.meters, deployment.clock, deployment.chance)
        try:
            if demote:
                tenancy.people.put("acme", name, "developer")
            else:
                tenancy.people.remove("acme", name)
        except (Conflict, NotFound):
            pass
        finally:
            over.set()
            gone.release()

    threading.Thread(target=leave, daemon=True).start()
    assert gone.acquire(timeout=PATIENCE_S)

    def step() -> None:
        if not over.is_set():
            go.release()
            assert gone.acquire(timeout=PATIENCE_S)

    return step


# what is remembered


def test_a_gateway_remembers_so_many_tenants_and_no_more() -> None:
    reads: list[str] = []
    deployment = Deployment()
    for number in range(MOST_TENANTS + 1):
        deployment.tenancy.create_tenant(Tenant(id=f"t{number}", name="T"))
    documents = Stepped(deployment.store.documents, lambda: reads.append("read"))
    snapshots = Snapshots(documents, deployment.store.meters)
    for number in range(MOST_TENANTS + 1):
        assert snapshots.cached(f"t{number}").tenant.id == f"t{number}"
    reads.clear()
    snapshots.cached(f"t{MOST_TENANTS}")
    assert reads == []
    snapshots.cached("t0")
    assert reads != []


@pytest.mark.parametrize("role", ["owner", "developer", "analyst", "viewer"])
def test_documents_of_yesterday_are_read_today(role: Role) -> None:
    """A member with a default may be missing: new code runs against yesterday's table."""
    deployment = Deployment()
    deployment.store.documents.put(Document("old", "tenant", '{"id":"old","name":"Old"}'))
    deployment.store.documents.put(
        Document("old", "key#old.aaaaaaaa", f'{{"id":"old.aaaaaaaa","tenant":"old","digest":"","role":"{role}"}}')
    )
    assert deployment.tenancy.tenant("old").limits == DEFAULT_LIMITS
    deployment.store.documents.put(Document("old", "member#ada", f'{{"subject":"ada","role":"{role}","added_ms":1}}'))
    assert deployment.tenancy.keys("old")[0].scopes == Scopes()
    assert deployment.tenancy.keys("old")[0].member is None
    assert deployment.tenancy.people.members("old") == [Member("ada", role, 1)]
