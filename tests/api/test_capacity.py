"""Places are shared fairly, and who waits for one waits as long as the line moves."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.http.capacity import STRANGERS, Bounds, Places
from chalicelib.http.turns import WARM, Capacity, Patience, Turns
from chalicelib.refusal import NoCapacity
from tests.patience import PATIENCE_S


def taken(places: Places, who: str, wanted: int) -> int:
    return sum(places.take(who) for _ in range(wanted))


@pytest.mark.parametrize(("share", "alone"), [(50, 50), (75, 75), (100, 100)])
def test_one_alone_has_its_share(share: int, alone: int) -> None:
    assert taken(Places(100, share), "flood", 1_000) == alone


def test_strangers_may_have_a_lesser_share_and_leave_the_rest_to_the_known() -> None:
    places = Places(100, 75, strangers_percent=25)
    assert taken(places, STRANGERS, 1_000) == 25
    assert taken(places, "known", 1_000) > 50


def test_slow_bodies_of_strangers_leave_most_of_the_room_to_the_known() -> None:
    async def scene() -> None:
        bodies = Capacity(Bounds(body_bytes=64), Patience()).bodies
        assert sum(bodies.take_at_once(STRANGERS) for _ in range(64)) == 16
        assert sum(bodies.take_at_once("known") for _ in range(64)) == 36

    asyncio.run(scene())


def test_two_floods_have_equal_shares_and_leave_something() -> None:
    places = Places(128, 75)
    for _ in range(1_000):
        places.take("one")
        places.take("two")
    assert (places.held("one"), places.held("two")) == (55, 54)
    assert taken(places, "quiet", 3) == 3


def test_what_was_taken_before_others_came_is_given_up_as_it_ends() -> None:
    """Nothing is taken away; but who is over their share gets nothing until they are not."""
    places = Places(128, 75)
    assert (taken(places, "first", 1_000), taken(places, "second", 1_000)) == (96, 24)
    for _ in range(40):
        places.give_back("first")
        assert not places.take("first")
        places.take("second")
    assert abs(places.held("first") - places.held("second")) < 10


@given(
    st.integers(1, 200),
    st.sampled_from((1, 25, 75, 90, 100)),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans())),
)
def test_no_more_are_held_than_there_are_and_who_holds_nothing_finds_one(
    most: int, share: int, steps: list[tuple[str, bool]]
) -> None:
    places, held = Places(most, share), dict.fromkeys("abcdef", 0)
    for who, takes in steps:
        if takes:
            free = most - sum(held.values())
            got = places.take(who)
            assert got or held[who] or not free
            held[who] += got
        elif held[who]:
            places.give_back(who)
            held[who] -= 1
        assert sum(held.values()) <= most
        assert all(places.held(each) == count for each, count in held.items())
    for who, count in held.items():
        if count:
            places.give_back(who, count)
    assert taken(places, "new", 2 * most) >= most * share // 100


def test_many_at_once_count_as_many() -> None:
    places = Places(100, 75)
    assert [places.take(who, 40) for who in ("a", "a", "b")] == [True, False, True]
    places.give_back("a", 40)
    assert places.take("b", 5)
    assert not places.take("c", 56)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), PATIENCE_S))


def full(*, stands_s: float = PATIENCE_S, longest_s: float = PATIENCE_S) -> Turns:
    """One place, and `busy` has it."""
    turns = Turns(Places(1, 100), Patience(stands_s, longest_s))
    assert turns.take_at_once("busy")
    return turns


async def all_wait(*waiting: "asyncio.Future[None]") -> None:
    for _ in range(3):  # turns of the loop, in which each begins to
        await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)


def test_who_holds_least_is_next_and_then_who_came_first() -> None:
    async def scene() -> None:
        turns = Turns(Places(2, 100), Patience(PATIENCE_S, PATIENCE_S))
        assert turns.take_at_once("flood")
        assert turns.take_at_once("flood")
        came: list[str] = []

        async def wait(who: str, name: str) -> None:
            await turns.take(who)
            came.append(name)

        waiting = [asyncio.ensure_future(wait(name[:-1], name)) for name in ("flood1", "flood2", "quiet1", "quiet2")]
        await all_wait(*waiting)
        for done in range(1, 5):
            turns.give_back("flood" if done < 3 else came[0][:-1])
            while len(came) < done:
                await asyncio.sleep(0)
        assert came == ["quiet1", "flood1", "quiet2", "flood2"]  # by then, the flood held nothing any more

    play(scene)


def test_a_place_that_another_thread_gives_back_is_taken() -> None:
    async def scene() -> None:
        turns = full()
        waiting = asyncio.ensure_future(turns.take("next"))
        await all_wait(waiting)
        await asyncio.to_thread(turns.give_back, "busy")
        await waiting

    play(scene)


@pytest.mark.parametrize("bounds", [{"stands_s": 0.01}, {"longest_s": 0.01}])
def test_nobody_waits_where_the_line_stands_nor_for_long(bounds: dict[str, float]) -> None:
    async def scene() -> None:
        turns = full(**bounds)
        with pytest.raises(NoCapacity) as refused:
            await turns.take("next")
        assert refused.value.retry_in_ms
        turns.give_back("busy")
        await turns.take("next")  # nobody is before them any more

    play(scene)


def test_who_comes_when_the_line_has_been_standing_is_told_at_once() -> None:
    async def scene() -> None:
        turns = full(stands_s=0.0)
        waiting = asyncio.ensure_future(turns.take("busy"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert waiting.done()
        with pytest.raises(NoCapacity):
            waiting.result()

    play(scene)


@pytest.mark.parametrize("its_turn_has_come", [False, True])
def test_who_gives_up_waiting_holds_nothing(its_turn_has_come: bool) -> None:
    async def scene() -> None:
        turns = full()
        leaving, next_one = (asyncio.ensure_future(turns.take(who)) for who in ("leaving", "next"))
        await all_wait(leaving, next_one)
        if its_turn_has_come:
            turns.give_back("busy")
            await asyncio.sleep(0)  # it is called up, and has not heard
        leaving.cancel()
        if not its_turn_has_come:
            turns.give_back("busy")
        await next_one
        assert leaving.cancelled()

    play(scene)


def test_who_comes_last_to_a_line_that_is_too_long_is_told_as_soon_as_that_is_known() -> None:
    """As many as it can get on with in time are kept, by the pace at which their turns have come."""

    async def scene() -> None:
        turns = full(longest_s=1.0)
        waiting = [asyncio.ensure_future(turns.take("busy")) for _ in range(1_000)]
        await all_wait(*waiting)
        for done in range(WARM + 1):
            turns.give_back("busy")
            while not waiting[done].done():
                await asyncio.sleep(0.005)
        refused = [each for each in waiting if each.done() and each.exception()]
        assert refused == waiting[-len(refused) :]
        with pytest.raises(NoCapacity):
            await turns.take("busy")
        for each in waiting:
            each.cancel()

    play(scene)


def test_who_comes_again_while_others_of_theirs_are_called_has_a_line() -> None:
    """A body that is larger than was thought takes more room, in the very turn in which its first room came."""

    async def scene() -> None:
        turns = Turns(Places(2, 100), Patience(PATIENCE_S, PATIENCE_S))
        assert turns.take_at_once("busy", 2)

        async def grow() -> None:
            await turns.take("growing")
            await turns.take("growing")

        growing, other = asyncio.ensure_future(grow()), asyncio.ensure_future(turns.take("growing"))
        await all_wait(growing, other)
        turns.give_back("busy", 2)
        await other
        assert not growing.done()
        turns.give_back("growing")
        await growing

    play(scene)
