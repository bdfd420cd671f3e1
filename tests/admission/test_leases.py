"""How leases are written: what is read is what was written, and they are small; those of before are read as well."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.admission import DEFAULT_LIMITS, budgets
from chalicelib.admission.leases import read, written
from chalicelib.admission.limits import Budget, Limits, Units
from chalicelib.admission.meter import Held, Meter
from chalicelib.admission.store import DynamoMeters
from chalicelib.dynamodb import Tables
from chalicelib.ledger.lease_id import instant_of, lease_id_of
from chalicelib.refusal import Crowded
from tests.admission.arrange import MONTH, REGION, ROOMY, T0, entry, limits
from tests.admission.backing import LEASE_MS, backing_over
from tests.admission.measure import NINE_WINDOWS, THREE_BUDGETS, item_bytes
from tests.stores import Served, StoreName, fresh_tables, sent

DOCS = Path(__file__).parents[2] / "docs" / "admission.md"
EXPIRED = T0 + LEASE_MS + 1

keys = st.builds(
    lambda name, unit, kind: budgets.key(Budget(name, unit, 1, kind)),
    st.text("abc_019", min_size=1, max_size=16),
    st.sampled_from(["requests", "tokens", "micro_usd", "gpu_ms"]),
    st.sampled_from(["minute", "hour", "day", "month"]),
)
instants = st.integers(T0 - 10**11, T0 + 10**11)
ids = st.one_of(
    st.builds(lease_id_of, instants, st.integers(0, 2**50 - 1)),
    st.text("0123456789abcdefghijklmnopqrstuvwxyzABC_-|.", min_size=1, max_size=24),
)


@st.composite
def some_leases(draw: st.DrawFn) -> tuple[str, Held, dict[str, tuple[str, ...]]]:
    """An id, its lease, and the sets of its meter."""
    lease_id = draw(ids)
    of_id = instant_of(lease_id)
    admitted_ms = draw(instants) if of_id is None or draw(st.booleans()) else of_id
    its = tuple(draw(st.lists(keys, max_size=9, unique=True)))
    name = draw(st.sampled_from(["0", "z", "10"]))
    amounts = draw(st.builds(Units, *[st.one_of(st.just(0), st.integers(1, 10**15))] * 4))
    windows = {}
    for key in its:
        if amounts.of(budgets.unit_of(key)):
            at_ms = admitted_ms + draw(st.sampled_from([0, 0, 0, 60_000, 32 * 86_400_000]))
            windows[key] = (budgets.window_id(budgets.kind_of(key), at_ms), amounts.of(budgets.unit_of(key)))
    held = Held(admitted_ms + draw(st.integers(0, 10**9)), admitted_ms, windows, name)
    return lease_id, held, {name: its, "other": ("month.tm",)}


@given(some_leases())
def test_what_is_read_is_what_was_written(case: tuple[str, Held, dict[str, tuple[str, ...]]]) -> None:
    lease_id, held, sets = case
    assert read(lease_id, written(lease_id, held), sets) == held


@given(instants, st.integers(0, 2**50 - 1))
def test_a_lease_id_says_when_it_began(now_ms: int, chance: int) -> None:
    assert instant_of(lease_id_of(now_ms, chance)) == now_ms


@pytest.mark.parametrize("other", ["", "0a", "0lease0001", "0" * 21, "0u234567890123456789", "0_234567890123456789"])
def test_an_id_of_another_making_says_no_instant(other: str) -> None:
    assert instant_of(other) is None


def test_a_usual_lease_is_a_dozen_characters() -> None:
    held = Held(T0 + 90_000, T0, {"month.tm": ("2026-11", 2_000), "spend.mm": ("2026-11", 700)}, "0")
    assert written(lease_id_of(T0, 5), held) == "0.1xg0.1jk.jg"


@pytest.mark.parametrize(
    ("title", "of", "sizes"),
    [
        ("the default limits (4 rates, 1 budget)", DEFAULT_LIMITS, {0: 73, 1: 236, 8: 453, 12: 578}),
        ("two budgets more", THREE_BUDGETS, {0: 73, 1: 306, 8: 544, 12: 681}),
        ("eight budgets more, of every unit", NINE_WINDOWS, {0: 73, 1: 504, 8: 763, 12: 912}),
    ],
    ids=["default", "three", "nine"],
)
def test_a_meter_with_twelve_leases_is_one_write_unit(
    stores: Served, title: str, of: Limits, sizes: dict[int, int]
) -> None:
    tables = fresh_tables(stores.url("ministack"))
    assert {leases: item_bytes(tables, of, leases) for leases in sizes} == sizes
    assert max(sizes.values()) <= 1_024
    told = DOCS.read_text()
    assert f"| {' | '.join([title, *map(str, sizes.values())])}" in told


class Yesterday:
    """A meter as the version before this one left it, with its leases in flight, and gateways of this version."""

    def __init__(self, tables: Tables, in_flight: int, leases: int) -> None:
        self.tables = tables
        self.backing = backing_over(tables)
        self.limits = limits(ROOMY, MONTH, Budget("minute", "tokens", 10**6, "minute"), in_flight=in_flight)
        amount = {"N": "100"}
        # The second budget was reserved in a window that is not of the admission's instant.
        lease = {
            "x": {"N": str(T0 + LEASE_MS)},
            "a": {"N": str(T0)},
            "b": {"M": {"month.tm": amount, "minute.ti": {"L": [{"S": "2026-11-18T11:07"}, amount]}}},
        }
        used = {"N": str(100 * leases)}
        item: dict[str, dict[str, Any]] = {
            "pk": {"S": f"acme#{REGION}"},
            "epoch": {"N": str(T0)},
            "tats": {"M": {}},
            "windows": {
                "M": {
                    "month.tm": {"M": {"w": {"S": "2026-11"}, "n": used}},
                    "minute.ti": {"M": {"w": {"S": "2026-11-18T11:07"}, "n": used}},
                }
            },
            "leases": {"M": {f"0old{i}": {"M": lease} for i in range(leases)}},
        }
        tables.call("PutItem", TableName=tables.meters, Item=item)
        self.sandbox = self.backing.sandbox()

    def admit(self, lease_id: str, at_ms: int = T0) -> Any:
        return self.sandbox.admit(
            tenant="acme",
            epoch=T0,
            limits=self.limits,
            units=Units(requests=1, tokens=10),
            lease_id=lease_id,
            now_ms=at_ms,
        )

    def meter(self) -> Meter:
        meter = self.backing.meters.reading("acme")
        assert meter is not None
        return meter

    def used(self) -> tuple[int, ...]:
        return tuple(self.meter().windows[key][1] for key in ("month.tm", "minute.ti"))


@pytest.fixture
def tables(stores: Served, store: StoreName) -> Tables:
    return fresh_tables(stores.url(store))


def test_a_lease_of_yesterday_is_read_as_it_was_written(tables: Tables) -> None:
    windows = {"month.tm": ("2026-11", 100), "minute.ti": ("2026-11-18T11:07", 100)}
    assert Yesterday(tables, in_flight=8, leases=1).meter().leases == {"0old0": Held(T0 + LEASE_MS, T0, windows)}


def test_a_meter_of_yesterday_takes_leases_at_the_price_of_a_cold_sandbox(tables: Tables) -> None:
    yesterday = Yesterday(tables, in_flight=8, leases=1)
    calls = sent(tables)
    yesterday.admit("0a")
    assert calls == ["UpdateItem", "UpdateItem"]
    lease = yesterday.sandbox.renew(yesterday.admit("0b"), T0 + 5)
    assert calls == ["UpdateItem"] * 4
    assert yesterday.meter().leases["0b"].expires_ms == T0 + 5 + LEASE_MS
    yesterday.sandbox.settle(lease, entry(lease, tokens=4))
    assert sorted(yesterday.meter().leases) == ["0a", "0old0"]
    assert yesterday.used() == (114, 114)


def test_leases_of_yesterday_count_towards_the_cap_until_they_end(tables: Tables) -> None:
    yesterday = Yesterday(tables, in_flight=3, leases=2)
    yesterday.admit("0a")
    with pytest.raises(Crowded):
        yesterday.admit("0b")
    assert yesterday.sandbox.reap(EXPIRED) == 3
    assert (yesterday.meter().leases, yesterday.meter().plain, yesterday.used()) == ({}, 0, (0, 0))
    for number in range(3):
        yesterday.admit(f"0c{number}")
    with pytest.raises(Crowded):
        yesterday.admit("0d")


def test_a_crowd_of_the_dead_of_yesterday_makes_room(tables: Tables) -> None:
    yesterday = Yesterday(tables, in_flight=2, leases=2)
    with pytest.raises(Crowded):
        yesterday.admit("0a")
    yesterday.admit("0a", at_ms=EXPIRED)
    assert list(yesterday.meter().leases) == ["0a"]
    assert yesterday.used()[0] == 10
    entries = [yesterday.backing.ledger.find("acme", f"0old{number}") for number in range(2)]
    assert [each.outcome for each in entries if each] == ["abandoned", "abandoned"]


def test_what_gateways_of_yesterday_look_for_is_in_a_new_meter(tables: Tables) -> None:
    DynamoMeters(tables, REGION).open("new", T0)
    name: str = tables.meters
    item = tables.call("GetItem", TableName=name, Key={"pk": {"S": f"new#{REGION}"}})["Item"]
    assert {"epoch", "tats", "windows", "leases"} <= set(item)
