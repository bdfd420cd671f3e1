"""What identifying costs on DynamoDB: a stranger the same calls, in the same order; whom a gateway remembers, none."""

import pytest

from chalicelib.identity import ApiKey, Credential, Sealer, identify
from chalicelib.refusal import Unauthenticated
from chalicelib.tenancy.key_text import KeyText, mint, parse
from tests.small_deployments import Deployment, dynamodb
from tests.stores import STORES, Served, StoreName, fresh_tables, sent

ISSUER = "https://login.example.com"


@pytest.mark.parametrize("store", STORES)
def test_a_stranger_costs_two_reads_of_single_items(stores: Served, store: StoreName) -> None:
    tables = fresh_tables(stores.url(store))
    deployment = Deployment(dynamodb(tables))
    deployment.pool()
    deployment.tenant("acme")
    good = parse(deployment.key("acme"))
    assert good is not None
    path = deployment.path()
    identify(ApiKey(good.text), "acme", path.snapshots.fresh, deployment.clock())
    calls = sent(tables)
    texts = [mint("nobody", bytes(37)).text, mint("acme", bytes(37)).text, KeyText("acme", good.key_id, "A" * 43).text]
    strangers: list[tuple[Credential, str]] = [
        *((ApiKey(text), "acme") for text in texts),
        (Sealer(), "acme"),
        (Sealer(), "nobody"),
    ]
    for snapshots in (path.snapshots, deployment.path().snapshots):
        for reading in (snapshots.cached, snapshots.fresh):
            for credential, tenant in strangers:
                calls.clear()
                with pytest.raises(Unauthenticated):
                    identify(credential, tenant, reading, deployment.clock())
                assert calls == ["GetItem", "GetItem"], (credential, tenant)


def acting(stores: Served, store: StoreName) -> tuple[Deployment, list[str]]:
    """A deployment with a member who has joined, and the calls to its store."""
    tables = fresh_tables(stores.url(store))
    deployment = Deployment(dynamodb(tables))
    deployment.pool()
    deployment.tenant("acme")
    deployment.tenancy.people.put("acme", "ada", "developer")
    deployment.tenancy.people.join(ISSUER, "ada", None, of_tenant=None)
    return deployment, sent(tables)


@pytest.mark.parametrize("store", STORES)
def test_whoever_is_no_member_costs_two_reads_of_single_items(stores: Served, store: StoreName) -> None:
    deployment, calls = acting(stores, store)
    warm = deployment.path().snapshots
    assert warm.fresh.person("acme", ISSUER, "ada") is not None
    strangers = [("acme", ISSUER, "eve"), ("acme", "https://evil.example", "ada"), ("nobody", ISSUER, "ada")]
    for snapshots in (warm, deployment.path().snapshots):
        for reading in (snapshots.cached, snapshots.fresh):
            for tenant, issuer, subject in strangers:
                calls.clear()
                assert reading.person(tenant, issuer, subject) is None
                assert calls == ["GetItem", "GetItem"], (tenant, issuer, subject)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(("member", "cold"), [(None, 3), ("ada", 4)])
def test_a_members_key_costs_a_read_more_when_it_is_new_here_and_a_services_nothing(
    stores: Served, store: StoreName, member: str | None, cold: int
) -> None:
    deployment, calls = acting(stores, store)
    _, text = deployment.tenancy.create_key("acme", "developer", member=member)
    snapshots = deployment.path().snapshots
    costs = []
    for reading in (snapshots.cached, snapshots.cached, snapshots.fresh):
        calls.clear()
        identify(ApiKey(text.text), "acme", reading, deployment.clock())
        costs.append(sorted(calls))
    assert costs == [["GetItem"] * cold + ["Query"], [], ["GetItem"]]  # the Query: pools, once for their tenant


@pytest.mark.parametrize("store", STORES)
def test_a_person_costs_what_a_key_does_that_is_theirs(stores: Served, store: StoreName) -> None:
    deployment, calls = acting(stores, store)
    snapshots = deployment.path().snapshots
    costs = []
    for reading in (snapshots.cached, snapshots.cached, snapshots.fresh):
        calls.clear()
        assert reading.person("acme", ISSUER, "ada") is not None
        costs.append(sorted(calls))
    assert costs == [["GetItem"] * 4 + ["Query"], [], ["GetItem"]]
