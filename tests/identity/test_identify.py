"""Who is calling: what a credential is worth, and what nobody learns from a wrong one."""

from collections.abc import Callable
from typing import NoReturn, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.identity import ENCRYPTING_PROVES_NOTHING, ApiKey, KeyHolder, Signed, identify, operator
from chalicelib.identity.principal import Principal
from chalicelib.refusal import Forbidden, NotFound, Unauthenticated
from chalicelib.tenancy import PLATFORM_TENANT, Change
from chalicelib.tenancy.key_text import KeyText, mint, parse
from chalicelib.tenancy.snapshot import Reading
from chalicelib.tenancy.tenant import Role, Scopes, SurfaceName, Tenant
from tests.small_deployments import Deployment


@pytest.fixture
def deployment() -> Deployment:
    deployment = Deployment()
    deployment.pool()
    deployment.tenant("acme")
    deployment.tenant("bolt")
    deployment.tenancy.create_tenant(Tenant(id=PLATFORM_TENANT, name="The operator"))
    return deployment


def proven(deployment: Deployment, credential: str | None, tenant: str | None = None) -> Principal:
    key = ApiKey(credential) if credential is not None else None
    return identify(key, tenant, deployment.path().snapshots.fresh, deployment.clock())[0]


def taken_apart(text: str) -> KeyText:
    token = parse(text)
    assert token is not None
    return token


def test_a_key_stands_for_its_tenant_role_and_scopes(deployment: Deployment) -> None:
    key = deployment.key("acme", "developer", pools=("model-a",), surfaces=("openai",))
    assert proven(deployment, key, "acme") == Principal(
        tenant="acme",
        subject=f"key:{taken_apart(key).key_id}",
        role="developer",
        proof="api_key",
        scopes=Scopes(("model-a",), ("openai",)),
    )


@pytest.mark.parametrize("tenant", ["acme", "nobody", None])
def test_what_anybody_may_have_encrypted_is_judged_before_any_tenant_is_looked_at(tenant: str | None) -> None:
    def reading(_: str) -> NoReturn:
        raise AssertionError("nobody's snapshot is needed")

    for arn in ("arn:aws:kms:us-east-1:111122223333:key/11111111-1111-4111-8111-111111111111", None):
        with pytest.raises(Unauthenticated) as refused:
            identify(KeyHolder(arn, "kms"), tenant, cast(Reading, reading), 0)
        assert refused.value.text == ENCRYPTING_PROVES_NOTHING


def _other_secret(deployment: Deployment) -> str:
    return f"ck_{taken_apart(deployment.key()).key_id}_{'A' * 43}"


def _revoked(deployment: Deployment) -> str:
    key = deployment.key()
    deployment.tenancy.revoke_key("acme", taken_apart(key).key_id)
    return key


WORTHLESS: dict[str, Callable[[Deployment], str | None]] = {
    "none": lambda _: None,
    "empty": lambda _: "",
    "malformed": lambda _: "sk-1234",
    "not ASCII": lambda _: "ck_acmé.aaaaaaaa_" + "A" * 43,
    "enormous": lambda _: "ck_" + "a" * 100_000,
    "of no tenant": lambda _: mint("nobody", bytes(37)).text,
    "of no key": lambda _: mint("acme", bytes(37)).text,
    "of the platform's documents": lambda _: "ck_~platform.aaaaaaaa_" + "A" * 43,
    "with another secret": _other_secret,
    "revoked": _revoked,
    "expired": lambda deployment: deployment.key(expires_ms=deployment.clock()),
}


@pytest.mark.parametrize("make", WORTHLESS.values(), ids=WORTHLESS)
@pytest.mark.parametrize("tenant", [None, "acme", "bolt", "nobody"])
def test_all_worthless_credentials_are_refused_with_one_text(
    deployment: Deployment, make: Callable[[Deployment], str | None], tenant: str | None
) -> None:
    with pytest.raises(Unauthenticated) as refused:
        proven(deployment, make(deployment), tenant)
    assert refused.value.text == Unauthenticated().text


def test_another_tenants_key_learns_nothing_of_the_tenant_it_names(deployment: Deployment) -> None:
    deployment.tenancy.change_tenant("bolt", Change(status="suspended"))
    key = deployment.key("acme")
    texts = set()
    for named in ("bolt", "nobody", PLATFORM_TENANT, "~platform", "acme\n", ""):
        with pytest.raises(NotFound) as refused:
            proven(deployment, key, named)
        texts.add(refused.value.text)
    assert len(texts) == 1


def test_a_suspended_tenant_is_told_so_and_strangers_are_not(deployment: Deployment) -> None:
    deployment.tenancy.change_tenant("acme", Change(status="suspended"))
    with pytest.raises(Forbidden):
        proven(deployment, deployment.key("acme"), "acme")
    with pytest.raises(NotFound):
        proven(deployment, deployment.key("acme"), "bolt")
    with pytest.raises(Unauthenticated):
        proven(deployment, _other_secret(deployment), "acme")


@pytest.mark.parametrize("role", ["owner", "developer", "analyst", "viewer"])
def test_no_role_of_another_tenant_opens_the_admin_surface(deployment: Deployment, role: Role) -> None:
    with pytest.raises(Forbidden):
        operated(deployment, deployment.key("acme", role))


@pytest.mark.parametrize("role", ["developer", "analyst", "viewer"])
def test_of_the_platforms_own_roles_only_the_owner_opens_it(deployment: Deployment, role: Role) -> None:
    assert operated(deployment, deployment.key(PLATFORM_TENANT)).tenant == PLATFORM_TENANT
    with pytest.raises(Forbidden):
        operated(deployment, deployment.key(PLATFORM_TENANT, role))


@pytest.mark.parametrize("surface", ["openai", "native"])
def test_a_platform_key_that_is_narrowed_to_inference_does_not_open_it(
    deployment: Deployment, surface: SurfaceName
) -> None:
    with pytest.raises(Forbidden):
        operated(deployment, deployment.key(PLATFORM_TENANT, surfaces=(surface,)))


def test_a_principal_that_api_gateway_has_verified_opens_it_without_a_key(deployment: Deployment) -> None:
    arn = "arn:aws:iam::123456789012:user/ops"
    principal = operated(deployment, None, arn)
    assert (principal.subject, principal.proof) == (arn, "iam")
    with pytest.raises(Unauthenticated):
        operated(deployment, None, "")


def operated(deployment: Deployment, credential: str | None, arn: str | None = None) -> Principal:
    proof = Signed(arn) if arn else ApiKey(credential) if credential is not None else None
    return operator(proof, deployment.path().snapshots.fresh, deployment.clock())


# scopes

pools = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3, unique=True).map(tuple)
surfaces = st.lists(st.sampled_from(get_args(SurfaceName)), max_size=3, unique=True).map(tuple)
scopes = st.builds(Scopes, pools=pools, surfaces=surfaces)


def reach(of: Scopes) -> set[tuple[str, str]]:
    """Everything that a key with these scopes may do, also on a surface and a pool that come later."""
    principal = Principal("acme", "key:x", "owner", "api_key", of)
    found = set()
    for surface in (*get_args(SurfaceName), "tomorrow's"):
        for pool in ("a", "b", "c", "d"):
            try:
                principal.must_reach(surface)
            except Forbidden:
                continue
            if principal.may_use(pool):
                found.add((surface, pool))
    return found


@given(scopes, scopes)
def test_a_key_covers_another_exactly_when_the_other_can_do_no_more(mine: Scopes, theirs: Scopes) -> None:
    assert covers(Principal("acme", "key:x", "owner", "api_key", mine), "owner", theirs) == (
        reach(theirs) <= reach(mine)
    )


@given(st.none() | st.integers(0, 3), st.none() | st.integers(0, 3))
def test_a_key_covers_another_exactly_when_the_other_lives_no_longer(mine: int | None, theirs: int | None) -> None:
    longer = mine is not None and (theirs is None or theirs > mine)
    assert covers(Principal("acme", "key:x", "owner", "api_key", Scopes(), mine), "owner", Scopes(), theirs) != longer


@pytest.mark.parametrize("mine", get_args(Role))
def test_a_role_covers_the_roles_that_may_do_no_more(mine: Role) -> None:
    order = ["viewer", "analyst", "developer", "owner"]  # each may do all that the ones before it may
    covered = [role for role in get_args(Role) if covers(Principal("acme", "key:x", mine, "api_key"), role, Scopes())]
    assert set(covered) == set(order[: order.index(mine) + 1])


def covers(principal: Principal, role: Role, scopes: Scopes, expires_ms: int | None = None) -> bool:
    try:
        principal.must_cover(role, scopes, expires_ms)
    except Forbidden:
        return False
    return True
