"""What the eraser may do: what it does, and no more; and the gateway itself cannot do it."""

from chalicelib.ledger.chain import DAY_MS
from chalicelib.privacy.eraser import SETTLING_MS, Eraser
from chalicelib.privacy.items import Items
from chalicelib.privacy.records import Erasure, Erasures
from tests.deployment.policies import allowed
from tests.deployment.test_policies import NOW, Sandbox, entry_of, exercised
from tests.stores import REGION, Served


def test_the_eraser_uses_every_permission_it_has_and_needs_no_other(stores: Served) -> None:
    prefix, asked = exercised(stores, erasing)

    assert asked == set(allowed("policy-prod-eraser.json", prefix))


def test_the_doors_cannot_change_or_delete_an_entry_of_the_ledger() -> None:
    doors = {operation for operation, table in allowed("policy-prod.json", "p") if table == "p-ledger"}

    assert "DeleteItem" not in doors and "Scan" not in doors


def erasing(prepared: Sandbox, sandbox: Sandbox) -> None:
    prepared.tenancy.people.put("acme", "someone", "owner")
    lease = prepared.admit(1)
    prepared.admission.settle(lease, entry_of(lease.lease_id, "completed"))
    prepared.ledger.claim("acme", "digest", lease.lease_id, NOW, keep_ms=60_000)
    prepared.contents.claim("acme", "resp_1", NOW + DAY_MS)
    used = {"pk": {"S": "acme"}, "sk": {"S": "hour#01m3ya7c1s#001"}, "doc": {"S": "{}"}}
    prepared.tables.call("PutItem", TableName=prepared.tables.usage, Item=used)
    Erasures(prepared.documents).begin(Erasure("acme", "job", "owner", NOW))
    later = NOW + SETTLING_MS
    eraser = Eraser(
        {REGION: Items(sandbox.tables)}, Erasures(sandbox.documents), sandbox.tenancy.closing.close, lambda: later
    )
    assert eraser.run(later + 1) == 1
