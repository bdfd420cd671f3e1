"""Events in every store that there is: both halves of each, in chains that hold, whatever else is written."""

from chalicelib.journal import Event, Journal, log_of
from chalicelib.ledger.memory import MemoryLedger
from chalicelib.ledger.store import DynamoLedger
from tests.ledger.arrange import DAY, T0, assert_unbroken, entry, kept
from tests.small_deployments import Chance, Hands

AnyLedger = MemoryLedger | DynamoLedger


def event(name: str) -> Event:
    return Event(
        tenant="acme", subject="key:k", proof="api_key", by="acme", action="put_member", object=name,
        source_ip="192.0.2.7", request_id="r",
    )  # fmt: skip


def test_an_event_is_told_with_its_end_and_without_where_there_is_none(ledger: AnyLedger) -> None:
    clock = Hands(T0)
    journal = Journal(ledger, clock, Chance())
    first = journal.begin(["acme"], event("ada"))
    clock.now_ms += 1
    second = journal.begin(["acme", "platform"], event("bob"))
    clock.now_ms += 5
    journal.end(["acme", "platform"], second, 201, "made")
    newest, oldest = journal.page("acme", 0, T0 * 2, None, 10).changes
    assert (oldest.event.id, oldest.ended, newest.event.id) == (first.id, None, second.id)
    assert (oldest.event.object, newest.event.object) == ("ada", "bob")
    assert newest.ended is not None
    assert (newest.ended.at_ms, newest.ended.status, newest.ended.made) == (T0 + 6, 201, "made")
    (there,) = journal.page("platform", 0, T0 * 2, None, 10).changes
    assert (there.event.id, there.event.log, newest.event.log) == (second.id, "platform#events", "acme#events")
    assert journal.page("bolt", 0, T0 * 2, None, 10).changes == ()


def test_pages_of_every_size_are_the_whole_log_whichever_ends_are_missing(ledger: AnyLedger) -> None:
    clock = Hands(T0)
    journal = Journal(ledger, clock, Chance())
    for number in range(7):
        clock.now_ms += number % 2  # some of them in the same millisecond
        begun = journal.begin(["acme"], event(f"m{number}"))
        if number % 3:
            journal.end(["acme"], begun, 200, "")
    whole = journal.page("acme", 0, T0 * 2, None, 100)
    assert len(whole.changes) == 7 and whole.cursor is None
    assert [change.ended is not None for change in sorted(whole.changes, key=lambda each: each.event.object)] == [
        bool(number % 3) for number in range(7)
    ]
    for size in (1, 2, 3, 7):
        page = journal.page("acme", 0, T0 * 2, None, size)
        found = list(page.changes)
        while page.cursor is not None:
            page = journal.page("acme", 0, T0 * 2, page.cursor, size)
            found += page.changes
        assert tuple(found) == whole.changes


def test_events_have_chains_of_their_own_beside_the_ledger(ledger: AnyLedger) -> None:
    journal = Journal(ledger, Hands(T0), Chance())
    for name in ("ada", "bob"):
        ledger.put_if_absent(entry(T0))
        journal.end(["acme"], journal.begin(["acme"], event(name)), 200, "")
    found = kept(ledger, DAY, log_of("acme"))
    assert_unbroken(found)
    assert len(found) == 4
    assert [each.entry.tenant for each in kept(ledger)] == ["acme"]
