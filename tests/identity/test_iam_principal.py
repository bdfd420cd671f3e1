"""Whom a signed request is from: what this gateway remembers, and what it does when that is no longer so."""

import pytest

from chalicelib.identity import Signed, identify
from chalicelib.identity.principal import Principal
from chalicelib.inference import Path
from chalicelib.refusal import Forbidden
from chalicelib.tenancy import Change
from chalicelib.tenancy.snapshot import Snapshots
from tests.small_deployments import Deployment
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


def who(path: Path, arn: str, *, warm: bool = False) -> str:
    """The tenant, or "" where the request is refused; `warm`: as the path asks, which believes no cached refusal."""
    for reading in (path.snapshots.cached, path.snapshots.fresh) if warm else (path.snapshots.fresh,):
        try:
            return identify(Signed(arn), None, reading, 0)[0].tenant
        except Forbidden:
            continue
    return ""


@pytest.mark.parametrize("arn", [SESSION, USER])
def test_a_principal_is_its_tenant_and_keeps_the_name_that_it_signed_with(deployment: Deployment, arn: str) -> None:
    snapshots = deployment.path().snapshots
    principal, snapshot = identify(Signed(arn), None, snapshots.cached, 0)
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
    snapshots = deployment.path().snapshots
    with pytest.raises(Forbidden, match=r"belongs to no tenant here. Ask the operator") as refused:
        identify(Signed(arn), None, snapshots.cached, 0)
    assert "acme" not in refused.value.text


def test_a_principal_of_a_suspended_tenant_is_refused(deployment: Deployment) -> None:
    deployment.tenancy.change_tenant("acme", Change(status="suspended"))
    snapshots = deployment.path().snapshots
    with pytest.raises(Forbidden, match="suspended"):
        identify(Signed(USER), None, snapshots.fresh, 0)


def test_a_warm_gateway_follows_a_principal_from_one_tenant_to_another(deployment: Deployment) -> None:
    path = deployment.path()
    assert who(path, SESSION) == who(path, SESSION, warm=True) == "acme"
    deployment.tenancy.principals.put("acme", [USER])
    assert who(path, SESSION) == ""
    deployment.tenancy.principals.put("bolt", [ROLE])
    assert who(path, SESSION) == who(path, SESSION, warm=True) == "bolt"
    assert who(path, USER) == "acme"


def test_a_principal_that_was_added_meanwhile_is_known_to_a_warm_gateway(deployment: Deployment) -> None:
    path = deployment.path()
    other = "arn:aws:iam::111122223333:role/new"
    assert (who(path, USER, warm=True), who(path, other, warm=True)) == ("acme", "")
    deployment.tenancy.principals.put("acme", [ROLE, USER, other])
    assert who(path, other, warm=True) == "acme"


def test_on_a_warm_gateway_nothing_is_read(deployment: Deployment) -> None:
    asked: list[None] = []
    snapshots = Snapshots(Stepped(deployment.store.documents, lambda: asked.append(None)), deployment.store.meters)
    first = identify(Signed(SESSION), None, snapshots.cached, 0)
    asked.clear()
    assert (identify(Signed(SESSION), None, snapshots.cached, 0), asked) == (first, [])
