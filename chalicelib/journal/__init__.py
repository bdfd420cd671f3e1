"""What people change: who, what, when and from where, in a log of each tenant's own beside its ledger.

An event is two links of the log's hash chains: before the change, as asked for, and after it, as it ended. Without
the first nothing is changed: where it cannot be written, the change is refused. The second may be lost, for what was
changed stays changed; an event without it says that nobody knows what became of it.

    event    who asked for which change, and what became of it: values

Here is how they are written and read. No secret is in them, and nothing of a body but its reason.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from chalicelib.clock import Clock
from chalicelib.journal.event import Change, Ended, Event
from chalicelib.ledger import Log, new_lease_id
from chalicelib.ledger.records import Kept
from chalicelib.randomness import Randomness

__all__ = ["Change", "Ended", "Event", "Journal", "Page", "log_of"]

KEPT_S = 400 * 86_400
"""Of an event: a year, and time to look back at it; whatever retention the tenant has for its ledger."""

_BEGUN, _ENDED = "0", "1"
"""The last characters of the ids of an event's two links, which so stand side by side, by whatever time it ended."""


class Page(NamedTuple):
    """Changes, newest first; `cursor` continues where they end, None at the end of all."""

    changes: tuple[Change, ...]
    cursor: str | None


class Journal:
    """Every event of every tenant. Raises StoreUnavailable."""

    def __init__(self, log: Log, clock: Clock, randomness: Randomness) -> None:
        self._log = log
        self._clock = clock
        self._randomness = randomness

    def begin(self, tenants: Sequence[str], event: Event) -> Event:
        """Write into the log of each of these tenants that the change is asked for; the event, with its id and time."""
        at_ms = self._clock()
        begun = msgspec.structs.replace(event, id=new_lease_id(at_ms, self._randomness)[:-1] + _BEGUN, at_ms=at_ms)
        for log in map(log_of, tenants):
            self._append(msgspec.structs.replace(begun, log=log), at_ms)
        return begun

    def end(self, tenants: Sequence[str], begun: Event, status: int, made: str) -> None:
        """Write what became of it: the HTTP status of the answer, and the id of what was made, if anything was."""
        ended_ms = self._clock()
        for log in map(log_of, tenants):
            self._append(Ended(log, begun.id[:-1] + _ENDED, begun.id, ended_ms, status, made), begun.at_ms)

    def page(self, tenant: str, since_ms: int, until_ms: int, cursor: str | None, limit: int) -> Page:
        """At most `limit` changes that were asked for in [since, until). Raises Malformed (the cursor)."""
        kept, more = self._log.kept(log_of(tenant), since_ms, until_ms, cursor, 2 * limit)
        changes = tuple(_changes(kept))[:limit]
        last = kept[-1].lease_id if kept else None
        shown = changes[-1].event.id if changes else last
        return Page(changes, shown if more or last != shown else None)

    def _append(self, said: Event | Ended, at_ms: int) -> None:
        self._log.append(said.log, said.id, msgspec.json.encode(said).decode(), at_ms, at_ms // 1_000 + KEPT_S)


def log_of(tenant: str) -> str:
    """The name of a tenant's log of events; no tenant's id has a # in it."""
    return f"{tenant}#events"


def _changes(newest_first: Sequence[Kept]) -> Iterator[Change]:
    """The events among these links. The end of one comes right before its beginning, or is not there."""
    ended: Ended | None = None
    for kept in newest_first:
        if kept.erased_ms is not None:
            continue
        if kept.lease_id.endswith(_ENDED):
            ended = msgspec.json.decode(kept.text, type=Ended)
            continue
        event = msgspec.json.decode(kept.text, type=Event)
        yield Change(event, ended if ended and ended.of == event.id else None)
