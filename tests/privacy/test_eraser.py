"""A tenant's data is erased: what is gone is gone from every table, what stays has a reason, and others keep theirs."""

import json
from collections.abc import Iterator

import pytest

from chalicelib.admission import DEFAULT_LIMITS, Units, lease_id_of
from chalicelib.documents import PLATFORM, Document
from chalicelib.dynamodb import Tables
from chalicelib.ledger.chain import DAY_MS, start_ms
from chalicelib.ledger.notary import SETTLED_MS, Notary
from chalicelib.privacy.eraser import SETTLING_MS
from chalicelib.privacy.items import TABLES
from chalicelib.refusal import StoreUnavailable
from tests.ledger.arrange import entry
from tests.privacy.arrange import World
from tests.stores import Served, StoreName, fresh_tables, prefix_of, reach_tables

FOR_EVER_MS = 10**15
STAYS = {"the tenant", "erasures", "meters", "requests", "events"}
WRITES = ("PutItem", "DeleteItem", "UpdateItem")


@pytest.fixture(params=["local", "ministack"])
def world(request: pytest.FixtureRequest, stores: Served) -> World:
    name: StoreName = request.param
    return World(fresh_tables(stores.url(name)))


@pytest.fixture
def local(stores: Served) -> World:
    return World(fresh_tables(stores.url("local")))


def found(world: World, canaries: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    for at, item in world.held().items():
        if any(canary in json.dumps(item) for canary in canaries):
            yield at


def test_nothing_is_left_but_what_is_kept_with_a_reason(world: World) -> None:
    assert len(list(found(world, world.canaries("acme")))) > 10, "there is something to erase"
    others = world.of("acme-2")
    world.ask()
    world.clock.now_ms += SETTLING_MS
    assert world.eraser().run(FOR_EVER_MS) == 1
    assert list(found(world, world.canaries("acme"))) == []
    erasure, _ = world.erasures.of("acme")
    assert {stays.what for stays in erasure.stays} == STAYS and all(stays.why for stays in erasure.stays)
    assert sum(stays.count for stays in erasure.stays) == len(world.of("acme"))
    assert erasure.deleted["members"] == 2 and erasure.deleted["contents"] == 3 and erasure.deleted["requests"] == 3
    assert {each.table for each in erasure.tables} == set(TABLES)
    assert sum(each.examined for each in erasure.tables) == len(world.held())
    assert world.of("acme-2") == others


def test_nothing_is_erased_while_a_request_may_still_write(local: World) -> None:
    path = local.deployment.path()
    path.admission.admit(
        tenant="acme",
        epoch=path.snapshots.fresh("acme").epoch,
        limits=DEFAULT_LIMITS,
        units=Units(requests=1, tokens=10),
        lease_id=lease_id_of(local.clock(), 99),
        now_ms=local.clock(),
    )
    local.ask()
    assert local.eraser().run(FOR_EVER_MS) == 0, "a process may be about to write"
    local.clock.now_ms += SETTLING_MS
    assert local.eraser().run(FOR_EVER_MS) == 0, "a lease is held"
    assert len(list(found(local, local.canaries("acme")))) > 10
    assert path.admission.reap(local.clock()) == 1
    assert local.eraser().run(FOR_EVER_MS) == 1
    assert local.erasures.of("acme")[0].deleted["requests"] == 4


@pytest.mark.parametrize("writes", [3, 4, 5])
def test_whoever_dies_at_any_write_is_gone_on_from(local: World, writes: int) -> None:
    """Each run makes so many writes, and dies before the next one: as many as it takes to close the tenant and say so,
    or a few more, so that the runs end at different writes."""
    local.ask()
    local.clock.now_ms += SETTLING_MS
    died = 0
    while local.erasures.of("acme")[0].state != "done":
        try:
            local.eraser(dying(local.tables, writes)).run(FOR_EVER_MS)
        except StoreUnavailable:
            died += 1
    assert died >= 8
    assert list(found(local, local.canaries("acme"))) == []
    assert {stays.what for stays in local.erasures.of("acme")[0].stays} == STAYS


def dying(tables: Tables, writes: int) -> Tables:
    """For a process that makes so many writes and no more."""
    own = reach_tables(tables.connection.url, prefix_of(tables))
    left = [writes]

    def observe(operation: str) -> None:
        left[0] -= operation in WRITES
        if left[0] < 0:
            raise StoreUnavailable("the process is dead")

    own.connection.observe = observe
    return own


def test_a_kind_of_item_that_nobody_knows_is_told_and_never_said_to_be_erased(local: World) -> None:
    local.deployment.store.documents.put(Document("acme", "horoscope", "{}"))
    local.ask()
    local.clock.now_ms += SETTLING_MS
    assert local.eraser().run(FOR_EVER_MS) == 0
    erasure, _ = local.erasures.of("acme")
    assert (erasure.state, erasure.unknown) == ("proving", ("tenancy acme horoscope",))
    local.deployment.store.documents.delete(Document("acme", "horoscope", "{}", version=1))
    assert local.eraser().run(FOR_EVER_MS) == 1


def test_what_stands_under_the_platform_is_taken_by_whom_its_document_names(local: World) -> None:
    local.ask()
    local.clock.now_ms += SETTLING_MS
    local.eraser().run(FOR_EVER_MS)
    left = {name for _, partition, name in local.held() if partition == PLATFORM}
    assert {"pool#acme", "erasure#acme", "principal#arn:aws:iam::111122223333:role/word-of-acme-2."} <= left
    assert not any("word-of-acme." in name for name in left)


def test_the_day_of_an_erasure_is_signed_over_its_tombstones(local: World) -> None:
    local.ask()
    local.clock.now_ms += SETTLING_MS
    local.eraser().run(FOR_EVER_MS)
    store = local.deployment.store
    day = start_ms("2026-11-18")
    kept, _ = store.ledger.kept("acme", day, day + DAY_MS, None, 100)
    assert [each.text for each in kept] == [""] * 3 and all(each.erased_ms and each.link for each in kept)
    assert Notary(store.ledger, store.heads, lambda _: b"").sign_due(["acme"], day + DAY_MS + SETTLED_MS) == 1


def test_a_worker_that_comes_back_writes_nothing_of_what_was_erased(local: World) -> None:
    late = entry(local.clock(), tenant="acme")
    local.ask()
    local.clock.now_ms += SETTLING_MS
    local.eraser().run(FOR_EVER_MS)
    ledger = local.deployment.store.ledger
    assert ledger.put_if_absent(late) is None
    assert ledger.find("acme", late.lease_id) is None
    assert ledger.page("acme", 0, 2 * local.clock(), None, 10).entries == ()


def test_what_a_restored_table_brings_back_is_erased_again(local: World) -> None:
    tenancy = {at: item for at, item in local.held().items() if at[0] in ("tenancy", "ledger", "contents")}
    local.ask()
    local.clock.now_ms += SETTLING_MS
    local.eraser().run(FOR_EVER_MS)
    for (table, _, _), item in tenancy.items():
        local.tables.call("PutItem", TableName=local.tables.name(table), Item=item)
    assert list(found(local, local.canaries("acme")))
    local.ask()
    local.clock.now_ms += SETTLING_MS
    assert local.eraser().run(FOR_EVER_MS) == 1
    assert list(found(local, local.canaries("acme"))) == []
