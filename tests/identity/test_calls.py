"""What a stranger costs on DynamoDB: the same calls, in the same order."""

import pytest

from chalicelib.identity import ApiKey, Credential, Sealer, identify
from chalicelib.refusal import Unauthenticated
from chalicelib.tenancy.key_text import KeyText, mint, parse
from tests.small_deployments import Deployment, dynamodb
from tests.stores import STORES, Served, StoreName, fresh_tables, sent


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
