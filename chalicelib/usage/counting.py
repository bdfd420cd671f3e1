"""The ledger, counted once."""

from chalicelib.ledger import Ledger
from chalicelib.ledger.lease_id import instant_of
from chalicelib.usage.group import Group, group_of
from chalicelib.usage.tally import Tally
from chalicelib.usage.times import start

PAGE = 1_000


class TooMany(Exception):
    """There are more entries than may be read."""


def counted(
    ledger: Ledger, tenant: str, since_ms: int, until_ms: int, most: int | None = None
) -> dict[int, dict[Group, Tally]]:
    """The groups of each hour, by its first instant, of requests that arrived in [since, until). Newest hour first.

    Raises: TooMany, where there are more than `most`; StoreUnavailable.
    """
    hours: dict[int, dict[Group, Tally]] = {}
    cursor = None
    read = 0
    while since_ms < until_ms:
        page, cursor = ledger.kept(tenant, since_ms, until_ms, cursor, PAGE)
        read += len(page)
        if most is not None and read > most:
            raise TooMany
        for kept in page:
            if kept.erased_ms is not None:
                continue
            entry = kept.entry
            # By its id, which is what the ledger is asked by. Ids of another making tell no time.
            arrived_ms = instant_of(kept.lease_id)
            hour = start(entry.admitted_ms if arrived_ms is None else arrived_ms, "hour")
            hours.setdefault(hour, {}).setdefault(group_of(entry), Tally()).count(entry)
        if cursor is None:
            break
    return hours
