"""IAM principals: each signs for one tenant, whoever changes that at the same time."""

import pytest

from chalicelib.documents import PLATFORM, Document
from chalicelib.refusal import Conflict, NotFound
from chalicelib.tenancy import Tenancy
from chalicelib.tenancy.principals import principal_of
from tests.small_deployments import Deployment, Store
from tests.tenancy.interleaving import Act, Interrupted, in_every_order

ROLE = "arn:aws-us-gov:iam::111122223333:role/app"
USER = "arn:aws:iam::111122223333:user/team/ada"


@pytest.fixture
def there(store: Store) -> Deployment:
    return with_two_tenants(Deployment(store))


def with_two_tenants(deployment: Deployment) -> Deployment:
    deployment.tenant("acme")
    deployment.tenant("bolt")
    return deployment


def owners(there: Deployment, arn: str = ROLE) -> list[str]:
    return [tenant.id for tenant in there.tenancy.tenants() if arn in tenant.principals]


def claims(there: Deployment) -> str:
    return "".join(document.text for document in there.store.documents.under(PLATFORM, "principal#"))


@pytest.mark.parametrize(
    ("signed", "principal"),
    [
        (USER, USER),
        ("arn:aws-us-gov:sts::111122223333:assumed-role/app/session", ROLE),
        ("arn:aws-us-gov:sts::111122223333:assumed-role/app/i-0abc@x", ROLE),
        (ROLE, ROLE),
        ("arn:aws-us-gov:iam::111122223333:role/team/east/app", ROLE),
        ("arn:aws-cn:sts::111122223333:assumed-role/app/s", "arn:aws-cn:iam::111122223333:role/app"),
        # What no tenant can name is not bent into what one can.
        ("arn:aws:sts::111122223333:federated-user/app", "arn:aws:sts::111122223333:federated-user/app"),
        ("arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:root"),
        ("arn:aws:sts::111122223333:assumed-role/app", "arn:aws:sts::111122223333:assumed-role/app"),
    ],
)
def test_a_session_is_known_by_its_role_and_a_role_without_its_path(signed: str, principal: str) -> None:
    assert principal_of(signed) == principal


def test_the_list_is_what_was_put_last(there: Deployment) -> None:
    assert there.tenancy.tenant("acme").principals == ()
    there.tenancy.principals.put("acme", [ROLE, USER, ROLE])
    assert there.tenancy.tenant("acme").principals == (ROLE, USER)
    there.tenancy.principals.put("acme", [USER])
    assert there.tenancy.tenant("acme").principals == (USER,)
    there.tenancy.principals.put("acme", [])
    assert (there.tenancy.tenant("acme").principals, claims(there)) == ((), "")


def test_a_principal_is_one_tenants_until_that_one_lets_it_go(there: Deployment) -> None:
    there.tenancy.principals.put("acme", [ROLE])
    with pytest.raises(Conflict) as refused:
        there.tenancy.principals.put("bolt", [USER, "arn:aws-us-gov:iam::111122223333:role/path/app"])
    assert "acme" not in refused.value.text
    assert (owners(there), owners(there, USER)) == (["acme"], [])
    there.tenancy.principals.put("acme", [])
    there.tenancy.principals.put("bolt", [ROLE])
    assert owners(there) == ["bolt"]


def test_a_tenant_that_is_not_there_claims_nothing(there: Deployment) -> None:
    with pytest.raises(NotFound):
        there.tenancy.principals.put("nobody", [ROLE])
    assert claims(there) == ""


def test_every_change_moves_the_epoch(there: Deployment) -> None:
    warm = there.path().snapshots
    before = warm.cached("acme")
    for arns in ([ROLE], [ROLE], []):
        there.tenancy.principals.put("acme", arns)
        after = warm.fresh("acme")
        assert after.epoch > before.epoch
        assert after.tenant.principals == tuple(arns)
        before = after


ADD: Act = lambda tenancy: tenancy.principals.put("acme", [ROLE])  # noqa: E731
REMOVE: Act = lambda tenancy: tenancy.principals.put("acme", [])  # noqa: E731
TAKE: Act = lambda tenancy: tenancy.principals.put("bolt", [ROLE])  # noqa: E731
PAIRS = {
    "it adds, and removes what it had": (ADD, REMOVE),
    "it removes twice": (REMOVE, REMOVE),
    "it adds, and so does another tenant": (ADD, TAKE),
    "it removes, and another tenant adds": (REMOVE, TAKE),
}


@pytest.mark.parametrize("held_before", [False, True])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_principal_never_has_two_tenants_and_never_one_without_a_claim_in_any_interleaving(
    pair: tuple[Act, Act], held_before: bool
) -> None:
    def fresh() -> Deployment:
        there = with_two_tenants(Deployment())
        if held_before:
            ADD(there.tenancy)
        return there

    def hold(there: Deployment) -> None:
        assert len(owners(there)) <= 1
        assert all(f'"{owner}"' in claims(there) for owner in owners(there))

    assert in_every_order(fresh, pair, hold) > 1


@pytest.mark.parametrize("write", [1, 2])
def test_a_change_that_was_cut_off_is_completed_by_repeating_it(there: Deployment, write: int) -> None:
    class Cut(Exception):
        pass

    def cut() -> None:
        raise Cut

    for arns in ([ROLE], []):
        documents = Interrupted(there.store.documents, write, cut)
        with pytest.raises(Cut):
            Tenancy(documents, there.store.meters, there.clock, there.chance).principals.put("acme", arns)
        there.tenancy.principals.put("acme", arns)
        assert there.tenancy.tenant("acme").principals == tuple(arns)
    there.tenancy.principals.put("bolt", [ROLE])


def test_tenants_of_yesterday_have_no_principals() -> None:
    deployment = Deployment()
    deployment.store.documents.put(Document("old", "tenant", '{"id":"old","name":"Old"}'))
    assert deployment.tenancy.tenant("old").principals == ()
