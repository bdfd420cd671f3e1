"""Whatever the tables hold has its fate: a kind of item more fails here until it is said what becomes of it."""

import re
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from chalicelib import tables
from chalicelib.privacy.items import TABLES
from chalicelib.privacy.kinds import KINDS, kind_of, may_be_anothers

_ROW = re.compile(r"^\| (\w+) +\| (.*?) +\| (.*?) *\| .*\|$", re.MULTILINE)


def documented() -> Iterator[tuple[str, str, str]]:
    for row in _ROW.finditer(tables.__doc__ or ""):
        if row[1] != "table":
            yield row[1], row[2], row[3]


def test_every_kind_of_item_that_the_tables_hold_has_its_fate_and_no_other() -> None:
    assert sorted((kind.table, kind.pk, kind.sk) for kind in KINDS) == sorted(documented())


def test_every_table_is_looked_through() -> None:
    assert set(tables.Models.__struct_fields__) == set(TABLES)


def test_what_stays_of_a_tenant_has_a_reason_and_what_goes_has_a_name() -> None:
    assert all(kind.why for kind in KINDS if kind.fate in ("keep", "bury"))
    assert all(kind.called for kind in KINDS if kind.fate != "not_a_tenants")


@given(tenant=st.from_regex("[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True))
def test_no_item_of_one_tenant_is_taken_for_anothers(tenant: str) -> None:
    other = f"{tenant}-2"
    for table, partition, sort in (
        ("tenancy", "{}", "member#ada@acme.example"),
        ("tenancy", "~platform", "person#aa#{}"),
        ("tenancy", "~platform", "invitation#aa#{}"),
        ("tenancy", "~platform", "review#{}#addresses-60"),
        ("meters", "{}#us-gov-west-1", ""),
        ("ledger", "{}", "01m3ya7c1s0000000000"),
        ("ledger", "{}#key:4f1c#velocity", "60#29916666"),
        ("contents", "{}", "resp_1#"),
        ("heads", "{}#events", "2026-11-18#001"),
    ):
        mine, theirs = ((partition.format(name), sort.format(name)) for name in (tenant, other))
        assert kind_of(table, tenant, *mine) is not None
        assert kind_of(table, tenant, *theirs) is None
        assert may_be_anothers(table, *theirs) == partition.startswith("~")
