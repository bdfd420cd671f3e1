"""Tokens of a tenant's own issuer, over what a process remembers of that tenant."""

import pytest

from chalicelib.identity import Token, identify
from chalicelib.inference import Path
from chalicelib.refusal import Unauthenticated
from chalicelib.tenancy.tenant import Issuer as Configured
from tests.issuer import AUDIENCE, Issuer, issuing
from tests.small_deployments import Deployment, Store, dynamodb
from tests.stores import STORES, Served, StoreName, fresh_tables, sent


def deployed(issuer: Issuer, store: Store | None = None) -> Deployment:
    """`acme`, which has configured the issuer, and whose members are ada and bob."""
    deployment = Deployment(store)
    deployment.callable_origins = (issuer.url,)
    deployment.tenant()
    deployment.tenancy.issuers.put("acme", [Configured(issuer.url, (AUDIENCE,))])
    for name in ("ada", "bob"):
        deployment.tenancy.people.put("acme", name, "developer")
        deployment.tenancy.people.join(issuer.url, name, None, of_tenant="acme")
    return deployment


def admitted(path: Path, text: str) -> str:
    """Whom the token stands for by what is remembered, as before an admission."""
    return identify(Token(text), "acme", path.snapshots.cached, path.clock(), path.verified)[0].subject


def test_an_issuer_that_was_taken_away_lets_in_nobody_who_is_read_only_now(issuer: Issuer) -> None:
    """The tenant is remembered with its issuer, at an old epoch; bob is read at the new one, which admits."""
    deployment = deployed(issuer)
    path = deployment.path()
    assert admitted(path, issuer.token()) == "member:ada"
    deployment.tenancy.issuers.put("acme", [])
    with pytest.raises(Unauthenticated):
        admitted(path, issuer.token(sub="bob"))
    with pytest.raises(Unauthenticated):
        admitted(path, issuer.token())


@pytest.mark.parametrize("store", STORES)
def test_a_strangers_token_costs_the_same_reads_whatever_the_tenant(
    stores: Served, store: StoreName, issuer: Issuer
) -> None:
    tables = fresh_tables(stores.url(store))
    deployment = deployed(issuer, dynamodb(tables))
    deployment.tenant("bolt")
    path, calls = deployment.path(), sent(tables)
    with issuing() as other:
        strangers = [other.token(), other.token(iss=issuer.url), issuer.token(exp=1), "eyJ.eyJ.AA"]
        for tenant in ("acme", "bolt", "nobody"):
            for text in strangers:
                calls.clear()
                with pytest.raises(Unauthenticated):
                    identify(Token(text), tenant, path.snapshots.cached, path.clock(), path.verified)
                assert calls == ["GetItem", "GetItem"], (tenant, text)
