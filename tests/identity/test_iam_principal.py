"""Whom a signed request is from: what this gateway remembers, and what it does when that is no longer so."""

import pytest

from chalicelib.identity import iam_principal
from chalicelib.identity.principal import Principal
from chalicelib.inference.house import House
from chalicelib.refusal import Forbidden
from chalicelib.tenancy import Change
from chalicelib.tenancy.snapshot import Snapshots
from tests.houses import Deployment
from tests.tenancy.interleaving import Stepped

ROLE = "arn:aws-us-gov:iam::111122223333:role/app"
SESSION = "arn:aws-us-gov:sts::111122223333:assumed-role/app/one"
USER = "arn:aws-us-gov:iam::111122223333:user/ada"


@pytest.fixture
def deployment() -> Deployment:
    deployment = Deployment()
    deployment.pool()
    deployment.tenant("acme")
    deployment.tenant("bolt")
    deployment.tenancy.principals.put("acme", [ROLE, USER])
    return deployment


def who(house: House, arn: str, *, warm: bool = False) -> str:
    """The tenant, or "" where the request is refused."""
    reading = house.snapshots.cached if warm else house.snapshots.fresh
    try:
        return iam_principal(arn, house.snapshots, reading)[0].tenant
    except Forbidden:
        return ""


@pytest.mark.parametrize("arn", [SESSION, USER])
def test_a_principal_is_its_tenant_and_keeps_the_name_that_it_signed_with(deployment: Deployment, arn: str) -> None:
    snapshots = deployment.house().snapshots
    principal, snapshot = iam_principal(arn, snapshots, snapshots.cached)
    assert principal == Principal(tenant="acme", subject=arn, role="owner", proof="iam")
    assert snapshot.tenant.id == "acme"


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::111122223333:role/app",  # another partition
        "arn:aws-us-gov:iam::111122223334:role/app",
        "arn:aws-us-gov:sts::111122223333:assumed-role/other/app",
        "arn:aws-us-gov:sts::111122223333:federated-user/ada",
        "arn:aws-us-gov:iam::111122223333:root",
        "arn:aws-us-gov:iam::111122223333:user/ADA",
    ],
)
def test_a_principal_of_no_tenant_is_refused_and_told_what_to_ask_for(deployment: Deployment, arn: str) -> None:
    snapshots = deployment.house().snapshots
    with pytest.raises(Forbidden, match=r"belongs to no tenant here. Ask the operator") as refused:
        iam_principal(arn, snapshots, snapshots.cached)
    assert "acme" not in refused.value.text


def test_a_principal_of_a_suspended_tenant_is_refused(deployment: Deployment) -> None:
    deployment.tenancy.change_tenant("acme", Change(status="suspended"))
    snapshots = deployment.house().snapshots
    with pytest.raises(Forbidden, match="suspended"):
        iam_principal(USER, snapshots, snapshots.fresh)


def test_a_warm_gateway_follows_a_principal_from_one_tenant_to_another(deployment: Deployment) -> None:
    house = deployment.house()
    assert who(house, SESSION) == who(house, SESSION, warm=True) == "acme"
    deployment.tenancy.principals.put("acme", [USER])
    assert who(house, SESSION) == ""
    deployment.tenancy.principals.put("bolt", [ROLE])
    assert who(house, SESSION) == who(house, SESSION, warm=True) == "bolt"
    assert who(house, USER) == "acme"


def test_a_principal_that_was_added_meanwhile_is_known_to_a_warm_gateway(deployment: Deployment) -> None:
    house = deployment.house()
    other = "arn:aws:iam::111122223333:role/new"
    assert (who(house, USER, warm=True), who(house, other, warm=True)) == ("acme", "")
    deployment.tenancy.principals.put("acme", [ROLE, USER, other])
    assert who(house, other, warm=True) == "acme"


def test_on_a_warm_gateway_nothing_is_read(deployment: Deployment) -> None:
    asked: list[None] = []
    snapshots = Snapshots(Stepped(deployment.store.documents, lambda: asked.append(None)), deployment.store.meters)
    first = iam_principal(SESSION, snapshots, snapshots.cached)
    asked.clear()
    assert (iam_principal(SESSION, snapshots, snapshots.cached), asked) == (first, [])
