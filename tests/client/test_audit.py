"""An auditor finds whatever was changed, removed or reordered, and names the first of it."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from cloister.audit import Day, Entry, Finding, Link, SignedHead, verify
from tests.client.ledgers import LATER_S, TENANT, anew, audited, in_one_chain, verified, with_entries, written
from tests.ledger.arrange import DAY

VECTORS = Path(__file__).parents[2] / "vectors" / "audit"


@pytest.fixture
def days() -> list[Day]:
    return written()


def replaced(days: list[Day], **changed: Entry) -> Day:
    """The first day with other entries in the places of some: `e0=...`."""
    entries = list(days[0].entries)
    for place, entry in changed.items():
        entries[int(place[1:])] = entry
    return with_entries(days[0], entries)


def link_of(entry: Entry) -> Link:
    assert entry.link is not None
    return entry.link


def relinked(entry: Entry, **changed: object) -> Entry:
    return msgspec.structs.replace(entry, link=msgspec.structs.replace(link_of(entry), **changed))


def test_what_was_written_is_found_as_it_was_in_any_order(days: list[Day]) -> None:
    backwards = with_entries(days[0], days[0].entries[::-1])
    first, second = verified([backwards, days[1]])
    assert (first.findings, second.findings) == ((), ())
    assert (first.entries, first.signed, first.unsigned, first.unchained) == (6, 6, 0, 0)
    assert first.head == days[0].heads[0].hash


# changed


@given(place=st.integers(0, 5), at=st.integers(0, 100), unsigned=st.booleans())
def test_a_flipped_character_in_any_entry_names_it(place: int, at: int, unsigned: bool) -> None:
    days = written()
    if unsigned:
        days[0] = msgspec.structs.replace(days[0], heads=[])
    entry = days[0].entries[place]
    at %= len(entry.text)
    text = entry.text[:at] + chr(ord(entry.text[at]) ^ 1) + entry.text[at + 1 :]
    found = audited(replaced(days, **{f"e{place}": msgspec.structs.replace(entry, text=text)}))
    assert [(finding.kind, finding.lease_id) for finding in found] == [("changed", entry.lease_id)]


def test_an_entry_that_shall_be_deleted_early_is_changed(days: list[Day]) -> None:
    entry = days[0].entries[1]
    (found,) = audited(replaced(days, e1=msgspec.structs.replace(entry, expires_s=1)))
    assert (found.kind, found.lease_id) == ("changed", entry.lease_id)


@pytest.mark.parametrize("place", range(6))
def test_a_chain_that_is_written_anew_with_hashes_that_fit_names_the_first_of_them(days: list[Day], place: int) -> None:
    entries = list(days[0].entries)
    chain = link_of(entries[place]).chain
    prev = None
    for number in range(place, 6):
        if link_of(entries[number]).chain == chain:
            entries[number] = anew(entries[number], entries[number].text.replace('"tokens":7', '"tokens":1'), prev)
            prev = link_of(entries[number]).hash
    found = audited(with_entries(days[0], entries))
    assert {finding.kind for finding in found} == {"changed"}
    assert found[0].lease_id == entries[place].lease_id


def test_a_change_with_its_own_hash_alone_is_found_even_before_anything_is_signed(days: list[Day]) -> None:
    entry = days[0].entries[1]
    changed = replaced(days, e1=anew(entry, entry.text.replace('"tokens":7', '"tokens":1')))
    (found,) = audited(msgspec.structs.replace(changed, heads=[]))
    assert (found.kind, found.lease_id) == ("changed", entry.lease_id)


# removed


@pytest.mark.parametrize(
    ("gone", "named"), [(0, 1), (1, 0), (3, 1), (4, 3), (2, 5), (5, 2)], ids=lambda number: str(number)
)
def test_an_entry_that_was_removed_is_missed_beside_its_neighbour(days: list[Day], gone: int, named: int) -> None:
    entries = list(days[0].entries)
    neighbour = entries[named].lease_id
    del entries[gone]
    (found,) = audited(with_entries(days[0], entries))
    assert (found.kind, found.lease_id) == ("removed", neighbour)


def test_a_whole_chain_that_was_signed_is_missed(days: list[Day]) -> None:
    chain = link_of(days[0].entries[2]).chain
    (found,) = audited(with_entries(days[0], [each for each in days[0].entries if link_of(each).chain != chain]))
    assert found == Finding("removed", DAY, "", f"The chain {chain} was removed, with all of its 2 entries.")
    assert {each.kind for each in audited(with_entries(days[0], []))} == {"removed"}


def test_an_entry_that_was_taken_out_of_its_chain_is_missed(days: list[Day]) -> None:
    entry = days[0].entries[1]
    day = replaced(days, e1=msgspec.structs.replace(entry, link=None))
    assert [each.kind for each in audited(day)] == ["removed"]
    assert verified([day])[0].unchained == 1


def test_what_retention_deletes_is_not_missed_but_the_rest_is_verified(days: list[Day]) -> None:
    expires_s = days[0].entries[0].expires_s
    left = list(days[0].entries)[3:]
    assert audited(with_entries(days[0], left), now_s=expires_s) == []
    assert audited(with_entries(days[0], []), now_s=expires_s) == []
    assert len(audited(with_entries(days[0], left), now_s=expires_s - 1)) == 2
    changed = [msgspec.structs.replace(left[0], text="{}"), *left[1:]]
    assert [each.kind for each in audited(with_entries(days[0], changed), now_s=expires_s)] == ["changed"]


# reordered


def test_entries_that_changed_places_are_reordered(days: list[Day]) -> None:
    first, second = days[0].entries[:2]
    in_the_chain = replaced(
        days, e0=relinked(first, seq=link_of(second).seq), e1=relinked(second, seq=link_of(first).seq)
    )
    under_their_keys = replaced(
        days,
        e0=msgspec.structs.replace(first, lease_id=second.lease_id),
        e1=msgspec.structs.replace(second, lease_id=first.lease_id),
    )
    for day in (in_the_chain, under_their_keys):
        assert [each.kind for each in audited(day)] == ["reordered", "reordered"]
        assert audited(day)[0].lease_id == first.lease_id


def test_an_entry_of_another_day_tenant_or_place_is_reordered(days: list[Day]) -> None:
    stranger = days[1].entries[0]
    (found,) = audited(with_entries(days[0], [*days[0].entries, stranger]))
    assert (found.kind, found.lease_id) == ("reordered", stranger.lease_id)
    twice = [*days[0].entries, days[0].entries[1]]
    assert [each.kind for each in audited(with_entries(days[0], twice))] == ["reordered"]
    theirs = list(
        verify(
            "bolt",
            [msgspec.structs.replace(days[0], heads=[])],
            ec.derive_private_key(7, ec.SECP256R1()).public_key(),
            LATER_S,
        )
    )
    assert {each.kind for each in theirs[0].findings} == {"reordered"}


@given(order=st.permutations(range(8)))
def test_entries_that_changed_places_in_any_way_are_each_reordered(order: list[int]) -> None:
    entries = in_one_chain(8)
    moved = [relinked(entry, seq=place + 1) for entry, place in zip(entries, order, strict=True)]
    found = audited(Day(DAY, moved, []))
    expected = [entry.lease_id for number, entry in enumerate(entries) if order[number] != number]
    assert [(each.kind, each.lease_id) for each in found] == [("reordered", lease_id) for lease_id in expected]


# how long it takes


@pytest.mark.parametrize("tampered", ["nothing", "texts", "places", "knots"])
def test_twice_the_entries_take_twice_the_work_whatever_was_done_to_them(tampered: str) -> None:
    def day(count: int) -> Day:
        entries = in_one_chain(count)
        match tampered:
            case "texts":
                entries = [msgspec.structs.replace(each, text=each.text + " ") for each in entries]
            case "places":
                entries = [relinked(each, seq=count - place) for place, each in enumerate(entries)]
            case "knots":
                entries = [relinked(each, prev=link_of(entries[0]).hash) for each in entries]
        return Day(DAY, entries, [])

    few, many = day(200), day(400)
    assert steps(lambda: verified([many])) < 2.2 * steps(lambda: verified([few]))


def steps(work: Callable[[], object]) -> int:
    """How many instructions the interpreter runs for it, of whichever functions."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


# heads


def test_a_head_that_was_changed_or_signed_by_another_key_proves_nothing(days: list[Day]) -> None:
    (head,) = days[0].heads
    changed = SignedHead(head.text.replace('"count":4', '"count":3'), head.signature)
    for wrong in (changed, SignedHead(head.text, "AAAA"), SignedHead(head.text, "no base64")):
        (found,) = audited(msgspec.structs.replace(days[0], heads=[wrong]))
        assert (found.kind, found.day) == ("head", DAY)
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert [each.findings[0].kind for each in verify(TENANT, days, stranger, LATER_S)] == ["head", "head"]


def test_a_head_of_another_day_is_no_head_of_this_one(days: list[Day]) -> None:
    found = audited(msgspec.structs.replace(days[0], heads=days[1].heads))
    assert [each.kind for each in found] == ["head"]


def test_a_head_that_is_missing_is_missed_by_the_next_one(days: list[Day]) -> None:
    between = Day("2026-11-19", [], [])
    assert audited(days[0], between, days[1]) == []
    before = msgspec.structs.replace(days[0], heads=[])
    assert audited(before, days[1]) == []  # whatever came before the range is not known
    (head,) = days[1].heads
    (found,) = audited(days[0], msgspec.structs.replace(days[0], heads=[]), days[0])
    assert (found.kind, "one is missing" in found.text) == ("head", True)
    assert head.hash != days[0].heads[0].hash


# what is not signed


def test_entries_after_the_head_are_counted_as_unsigned(days: list[Day]) -> None:
    (day,) = verified([msgspec.structs.replace(days[0], heads=[])])
    assert (day.signed, day.unsigned, day.head, day.findings) == (0, 6, "", ())


# what every program agrees on


def test_the_vectors_day_is_what_was_written() -> None:
    key = load_pem_public_key((VECTORS / "public_key.pem").read_bytes())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    days = msgspec.json.decode((VECTORS / "days.json").read_bytes(), type=list[Day])
    found = list(verify(TENANT, days, key, LATER_S))
    assert [(each.entries, each.signed, each.findings) for each in found] == [(6, 6, ()), (6, 6, ())]


# erased


def erased(entry: Entry, at_ms: int = 1_795_100_000_000) -> Entry:
    """Its tombstone."""
    return msgspec.structs.replace(entry, text="", erased_ms=at_ms)


def test_a_ledger_that_was_erased_is_no_finding_and_says_how_many_were(days: list[Day]) -> None:
    buried = [with_entries(day, [erased(entry) for entry in day.entries]) for day in days]
    assert [(day.findings, day.signed, day.erased) for day in verified(buried)] == [((), 6, 6), ((), 6, 6)]


def test_an_erasure_goes_from_the_oldest_on_and_may_be_under_way(days: list[Day]) -> None:
    entries = sorted(days[0].entries, key=lambda entry: entry.lease_id)
    for count in range(7):
        assert audited(with_entries(days[0], [*map(erased, entries[:count]), *entries[count:]])) == []


@pytest.mark.parametrize("place", range(1, 6))
def test_one_entry_that_is_passed_off_as_erased_is_found(days: list[Day], place: int) -> None:
    entry = days[0].entries[place]
    (found,) = audited(replaced(days, **{f"e{place}": erased(entry)}))
    assert (found.kind, found.lease_id) == ("erased", entry.lease_id)


def test_a_day_that_is_passed_off_as_erased_is_found_where_one_before_it_was_not(days: list[Day]) -> None:
    later = with_entries(days[1], [erased(entry) for entry in days[1].entries])
    (found,) = audited(days[0], later)
    assert (found.kind, found.day) == ("erased", days[1].day)


@pytest.mark.parametrize("place", range(6))
def test_a_tombstone_that_never_was_an_entry_is_found(days: list[Day], place: int) -> None:
    buried = [erased(entry) for entry in days[0].entries]
    buried[place] = relinked(buried[place], hash="A" * len(link_of(buried[place]).hash))
    assert any(found.lease_id == buried[place].lease_id for found in audited(with_entries(days[0], buried)))
