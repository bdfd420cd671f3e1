"""The arithmetic of shares, for all values."""

from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.admission import rates
from chalicelib.admission.limits import Budget, Limits, Rate, Units
from chalicelib.admission.meter import Meter
from chalicelib.admission.shares import arithmetic
from chalicelib.admission.shares.arithmetic import USUAL, shards_of, split
from chalicelib.admission.shares.book import (
    epoch_of,
    is_settled,
    meter_of,
    number_of,
    read,
    stamp,
    version_of,
    written,
)
from chalicelib.admission.shares.post import arranged, granted, opened
from chalicelib.admission.shares.steward import State, targets_of
from tests.admission.arrange import T0, limits

amounts = st.integers(0, 10**15)


@given(amounts, st.integers(1, 84))
def test_equal_parts_are_all_there_is(total: int, parts: int) -> None:
    found = split(total, parts)
    assert sum(found) == total
    assert len(found) == parts
    assert max(found) - min(found) <= 1


@given(
    st.dictionaries(st.sampled_from(["1c", "1b", "2n", "1zn"]), st.tuples(amounts, amounts)),
    st.frozensets(st.sampled_from(["1", "2", "1z"])),
)
def test_shares_are_read_as_they_were_written(counters: dict[str, tuple[int, int]], held: frozenset[str]) -> None:
    given_ = {name: one for name, (one, _) in counters.items()}
    back = {name: other for name, (_, other) in counters.items()}
    assert read(written(given_, back, held)) == (given_, back, held)


@given(st.integers(1, 10**13), st.integers(1, 10**9 - 1))
def test_a_stamp_says_epoch_and_version_and_is_no_epoch(epoch: int, version: int) -> None:
    number = stamp(epoch, version)
    assert number < 0
    assert (epoch_of(number), version_of(number)) == (epoch, version)
    assert epoch_of(epoch) == epoch


@given(st.integers(0, 83))
def test_a_meters_name_says_its_number(number: int) -> None:
    assert number_of(meter_of("acme", number)) == number


@given(
    st.builds(Rate, st.just("r"), st.just("requests"), st.integers(1, 10**6), st.integers(1, 10**8), st.just(1)),
    st.integers(1, 10**9),
    st.integers(1, 10**9),
    st.integers(0, 10**12),
)
def test_what_is_owed_is_the_same_at_another_count(rate: Rate, count: int, other: int, ahead_us: int) -> None:
    now_us = T0 * 1_000
    level = arithmetic.level_milli(rate, count, now_us + ahead_us, now_us)
    tat_us = arithmetic.tat_of(rate, other, level, now_us)
    per_us = Fraction(other, rate.period_ms * 1_000)
    # Never less, and more by no more than what a microsecond is worth.
    assert level <= (tat_us + rates.SLACK_US - now_us) * per_us < level + per_us


@given(st.integers(1, 1_000), st.integers(2, 10**6), st.integers(0, 10**9))
def test_every_shard_can_serve_a_usual_call_by_itself(in_flight: int, burst: int, budget: int) -> None:
    of = limits(
        Rate("tpm", "tokens", burst, 60_000, burst), Budget("day", "tokens", budget, "day"), in_flight=in_flight
    )
    count = shards_of(of)
    assert 1 <= count <= max(1, in_flight // arithmetic.PLACES_EACH)
    if count == 1:
        return
    book = arranged(opened(None, of, 1, Meter(T0, {}, {}, {}), T0), count)
    for target in targets_of(State(book, {}), None, T0).values():
        share = arithmetic.share_limits(of, book.ids, target)
        assert arithmetic.serves(share, arithmetic.largest(of, share), Units(requests=1, tokens=USUAL.tokens))
        assert share.in_flight >= arithmetic.PLACES_EACH


@given(st.dictionaries(st.integers(0, 3), st.dictionaries(st.sampled_from(["1c", "1b", "2n"]), amounts)))
def test_no_wish_is_granted_more_than_there_is(wishes: dict[int, dict[str, int]]) -> None:
    of = Limits((Rate("r", "requests", 10, 1_000, 30),), (), 100)
    book = arranged(opened(None, of, 1, Meter(T0, {}, {}, {}), T0), 4)
    held = book.holders[0]
    freed = msgspec.structs.replace(held, returned=held.granted)
    after = granted(msgspec.structs.replace(book, holders=(freed, *book.holders[1:])), wishes)
    for component, amount in after.whole.items():
        total = sum(holder.outstanding(component) for holder in after.holders)
        wished = sum(wish.get(component, 0) for wish in wishes.values())
        assert total == min(amount, wished)


def test_what_is_not_granted_is_not_settled() -> None:
    book = arranged(opened(None, limits(in_flight=40), 1, Meter(T0, {}, {}, {}), T0), 4)
    assert is_settled(book)
    raised = arranged(opened(book, limits(in_flight=50), 2, Meter(T0, {}, {}, {}), T0), 1)
    assert not is_settled(raised)
