"""The work of erasures: a page at a time, each written down when it is done, so that whoever dies is gone on from.

waiting    until nothing that was let in before can write any more
erasing    the tenant's partitions, the oldest first, so that a ledger is never erased in its middle alone
proving    every table from end to end, for whatever else leads to the tenant; again, until one pass finds nothing

Repeating a page finds what is left of it: a run that was cut off may count less than it erased, and never leaves any.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from chalicelib.clock import Clock
from chalicelib.documents import Changed
from chalicelib.dynamodb import Item
from chalicelib.ledger.store import erased_ms
from chalicelib.privacy.items import TABLES, Items, Page, text_of
from chalicelib.privacy.kinds import Kind, kind_of, may_be_anothers
from chalicelib.privacy.records import Erasure, Erasures, ScannedTable, State, Stays
from chalicelib.refusal import NotFound
from chalicelib.tenancy.ownership import Owner

SETTLING_MS = 120_000
"""After the tenant was closed: whatever a process was about to write, without a lease, it has written by then."""

READS_THIS = "reads this report, and the audit of what is left, until it expires"
MOST_UNKNOWN = 20


class Eraser:
    """Raises StoreUnavailable. Two that run at once do no harm: the slower one of them stops."""

    def __init__(
        self, regions: Mapping[str, Items], erasures: Erasures, close: Callable[[str], object], clock: Clock
    ) -> None:
        """`regions`: the tables of each region. `close`: leave of a tenant what is left of one that is erased."""
        self._regions = regions
        self._erasures = erasures
        self._close = close
        self._clock = clock

    def run(self, until_ms: int) -> int:
        """Go on with every erasure that is not done, until then; how many are done by it."""
        done = 0
        for erasure in self._erasures.all():
            if erasure.state != "done":
                with suppress(Changed):
                    done += self._go_on(erasure.tenant, until_ms)
        return done

    def _go_on(self, tenant: str, until_ms: int) -> bool:
        erasure, document = self._erasures.of(tenant)
        while erasure.state != "done" and self._clock() < until_ms:
            after = self._step(erasure)
            if after == erasure:
                break
            document = self._erasures.keep(after, document)
            if after.unknown and after.state == "proving" and _begins(after):
                break  # to look again at once would find the same
            erasure = after
        return erasure.state == "done"

    def _step(self, erasure: Erasure) -> Erasure:
        if erasure.state == "waiting":
            with suppress(NotFound):
                self._close(erasure.tenant)  # also where whoever asked died before it
            return _turned(erasure, "erasing") if self._settled(erasure) else erasure
        places = self._partitions(erasure.tenant) if erasure.state == "erasing" else self._tables()
        if erasure.place < len(places):
            return self._page(erasure, *places[erasure.place])
        if erasure.state == "erasing" or erasure.unclean or erasure.unknown:
            return msgspec.structs.replace(_turned(erasure, "proving"), unknown=erasure.unknown)
        return msgspec.structs.replace(erasure, state="done", finished_ms=self._clock())

    def _settled(self, erasure: Erasure) -> bool:
        """Whether no request that was let in before can write any more."""
        if self._clock() < erasure.asked_ms + SETTLING_MS:
            return False
        return not any(_leases(item) for region in self._regions for item in self._meters(region, erasure.tenant))

    def _meters(self, region: str, tenant: str) -> Sequence[Item]:
        found: list[Item] = []
        after = None
        while True:
            page = self._regions[region].everywhere("meters", tenant, after)
            found += page.items
            if (after := page.after) is None:
                return found

    def _partitions(self, tenant: str) -> Sequence[tuple[str, str, str]]:
        """(region, table, partition) of what a tenant has most of: no other one's items are read for it."""
        here = (
            ("tenancy", tenant),
            ("contents", tenant),
            ("usage", tenant),
            ("ledger", tenant),
            ("ledger", f"{tenant}#events"),
        )
        return [(region, *place) for region in self._regions for place in here]

    def _tables(self) -> Sequence[tuple[str, str, str]]:
        return [(region, table, "") for region in self._regions for table in TABLES]

    def _page(self, erasure: Erasure, region: str, table: str, partition: str) -> Erasure:
        items = self._regions[region]
        if partition:
            page = items.of(table, partition, erasure.after)
        else:
            page = items.everywhere(table, erasure.tenant, erasure.after)
        return self._dealt(erasure, region, table, page)

    def _dealt(self, erasure: Erasure, region: str, table: str, page: Page) -> Erasure:
        deleted, stays = Counter(erasure.deleted), list(erasure.stays)
        unknown = [] if _begins(erasure) else list(erasure.unknown)
        before = deleted.total()
        for item in page.items:
            kind = _kind(table, erasure.tenant, item)
            if kind is None:
                unknown.append(f"{table} {text_of(item, 'pk')} {text_of(item, 'sk')}")
            elif kind.fate == "not_a_tenants":
                continue
            elif why := self._why_it_stays(kind, item, erasure):
                stays.append(Stays(kind.called, 1, why))
            else:
                self._erase(region, kind, item)
                deleted[kind.called] += 1
        proving = erasure.state == "proving"
        over = page.after is None
        return msgspec.structs.replace(
            erasure,
            place=erasure.place + over,
            after=page.after,
            deleted=dict(deleted),
            stays=_together(stays) if proving else (),
            tables=_looked_through(erasure.tables, table, region, page.examined) if proving else (),
            unclean=erasure.unclean or deleted.total() > before,
            unknown=tuple(unknown[:MOST_UNKNOWN]),
        )

    def _why_it_stays(self, kind: Kind, item: Item, erasure: Erasure) -> str:
        """Empty where it does not."""
        if kind.fate == "keep":
            return kind.why
        if kind.fate == "bury":
            return kind.why if erased_ms(item) is not None else ""
        return READS_THIS if erasure.receipt and text_of(item, "sk") == f"key#{erasure.receipt}" else ""

    def _erase(self, region: str, kind: Kind, item: Item) -> None:
        if kind.fate == "bury":
            self._regions[region].bury(kind.table, item, self._clock())
        else:
            self._regions[region].delete(kind.table, item)


def _kind(table: str, tenant: str, item: Item) -> Kind | None:
    """None: an item of the tenant's that no kind is known of."""
    partition, sort = text_of(item, "pk"), text_of(item, "sk")
    kind = kind_of(table, tenant, partition, sort)
    if not partition.startswith("~"):
        return kind
    if kind is not None and kind.says_whose and msgspec.json.decode(text_of(item, "doc"), type=Owner).tenant != tenant:
        return ANOTHERS
    return kind or (ANOTHERS if may_be_anothers(table, partition, sort) else None)


def _leases(item: Item) -> bool:
    return any(item.get(name, {}).get("M") for name in ("held", "leases"))


def _begins(erasure: Erasure) -> bool:
    return erasure.place == 0 and erasure.after is None


def _turned(erasure: Erasure, state: State) -> Erasure:
    return msgspec.structs.replace(
        erasure, state=state, place=0, after=None, stays=(), tables=(), unclean=False, unknown=()
    )


def _together(stays: Sequence[Stays]) -> tuple[Stays, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    for each in stays:
        counts[each.what, each.why] += each.count
    return tuple(Stays(what, count, why) for (what, why), count in counts.items())


def _looked_through(tables: Sequence[ScannedTable], table: str, region: str, examined: int) -> tuple[ScannedTable, ...]:
    if tables and (tables[-1].table, tables[-1].region) == (table, region):
        *before, last = tables
        return (*before, msgspec.structs.replace(last, examined=last.examined + examined))
    return (*tables, ScannedTable(table, region, examined))


ANOTHERS = Kind("", "", "", "", "not_a_tenants", "")
"""Of another tenant, whose id is longer, or whose thing has a name like this one's id."""
