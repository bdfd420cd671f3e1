"""What simpler versions get wrong, each as the shortest story that shows it: theirs breaks the law, ours keeps it."""

from collections.abc import Callable
from typing import Final

import msgspec
import pytest

from chalicelib.admission.limits import Budget, Limits, Rate, Units
from chalicelib.admission.memory import MemoryMeters
from chalicelib.admission.meter import Meter
from chalicelib.admission.shares.arithmetic import PLACES, units_of
from chalicelib.admission.shares.book import UNSHARED, meter_of
from chalicelib.admission.shares.memory import MemoryKeeping
from chalicelib.admission.shares.sync import Rescaled, Sync
from chalicelib.ledger.memory import MemoryLedger
from tests.admission.backing import Backing
from tests.admission.shares.world import TENANT, Agent, Dead, World

PACE: Final = Rate("pace", "requests", 10, 1_000, 30)
MOST: Final = Budget("most", "tokens", 100, "minute")
EDGE_MS: Final = 20_000
"""From the start until the window of a minute turns."""


class Stage:
    """Two shards, of which the first holds everything."""

    def __init__(self, *, naive: bool) -> None:
        self.naive = naive
        self.meters = MemoryMeters()
        backing = Backing(self.meters, MemoryKeeping(self.meters), MemoryLedger())
        self.world = World(backing, Limits((PACE,), (MOST,), 100), 2)
        self.agent = Agent(self.world)
        # Divided, and not levelled: the steward dies after the book and the first shard.
        steward = self.world.steward(writes=2)
        with pytest.raises(Dead):
            steward.divide(TENANT)
        self.agent.read()
        self.agent.look(0)
        book = self.agent.book
        assert book is not None
        self.places = units_of(book.ids[PLACES])
        self.budget = units_of(book.ids["most.ti"])

    def give(self, number: int) -> None:
        """All that this shard does not use goes back to the book, but half of the places."""
        self.agent.look(number)
        assert self.agent.sync(number, {**self.agent.everything(places=False), self.places: 50})
        self.agent.look(number)
        assert self.agent.post()

    def grant(self, number: int) -> None:
        """All that nobody holds goes to this shard."""
        assert self.agent.post({number: self.agent.everything()})
        assert self.agent.sync(number)

    def use(self, number: int, *, requests: int = 0, tokens: int = 0, times: int = 1) -> None:
        self.agent.look(number)
        for _ in range(times):
            self.agent.admit(number, Units(requests=requests, tokens=tokens))

    def force(self, number: int, change: Callable[[Sync], Sync], give: bool = False) -> None:
        """The shard's write, or what a simpler version would have written."""
        self.agent.look(number)
        write = self.agent.synced(number, self.agent.everything(places=False) if give else None)
        assert write is not None
        assert self.world.keeping.sync(change(write) if self.naive else write)
        self.agent.look(number)

    def lower(self, tokens: int) -> None:
        limits = Limits((PACE,), (msgspec.structs.replace(MOST, limit=tokens),), 100)
        self.world.checker.change(limits)
        assert self.agent.post(change=True)


def the_count_moves_and_what_is_owed_shrinks_with_it(stage: Stage) -> None:
    """A tat says for how long is owed. At half of the count that is half as much."""
    stage.use(0, requests=1, times=15)
    stage.force(0, _unscaled, give=True)
    stage.agent.sync(0, {stage.places: 50})
    assert stage.agent.post()
    stage.grant(1)
    stage.use(1, requests=1, times=40)
    stage.use(0, requests=1, times=40)


def _unscaled(write: Sync) -> Sync:
    bounds = [
        msgspec.structs.replace(bound, tat_us=None) if isinstance(bound, Rescaled) else bound for bound in write.bounds
    ]
    return msgspec.structs.replace(write, bounds=tuple(bounds))


def room_of_the_new_window_is_used_in_the_old_one(stage: Stage) -> None:
    stage.give(0)
    assert stage.agent.post({0: {**stage.agent.everything(), stage.budget: 50}})
    stage.agent.sync(0)
    stage.grant(1)
    stage.use(0, tokens=50)
    stage.world.now_ms += EDGE_MS + 5
    stage.give(0)
    if stage.naive:
        assert stage.agent.book is not None
        stage.agent.book = msgspec.structs.replace(stage.agent.book, windows={})
    stage.grant(1)
    slow = Agent(stage.world, -10)
    slow.read()
    slow.look(1)
    slow.admit(1, Units(tokens=100))


def a_refund_makes_room_while_more_is_used_than_there_is(stage: Stage) -> None:
    stage.use(0, tokens=45, times=2)
    stage.lower(50)
    stage.force(0, lambda write: msgspec.structs.replace(write, held=frozenset()))
    first = next(iter(stage.world.leases))
    stage.agent.settle(first, 15)
    stage.world.checker.settled(first, 15)
    stage.use(0, tokens=10)


def an_old_copy_of_the_book_gives_twice(stage: Stage) -> None:
    old = stage.agent.book
    stage.give(0)
    stage.grant(1)
    now, stage.agent.book = stage.agent.book, old
    stage.agent.look(0)
    if stage.naive:
        assert old is not None
        shard = stage.agent.seen[0]
        write = Sync(TENANT, shard.meter.epoch, shard.meter.epoch - 1, old.holders[0].granted, {}, frozenset(), ())
        assert stage.world.keeping.sync(write)
    else:
        assert stage.agent.synced(0) is None
    stage.agent.book = now
    stage.use(1, tokens=90)
    stage.use(0, tokens=90)


def the_epoch_comes_before_the_shares(stage: Stage) -> None:
    """In a write of its own, after which the new epoch is admitted under, with the shares of the old one."""
    stage.use(0, tokens=30)
    shard = stage.agent.seen[0]
    stage.lower(50)
    stage.force(
        0,
        lambda write: msgspec.structs.replace(
            write, granted=shard.granted, returned=shard.returned, held=frozenset(), bounds=()
        ),
    )
    stage.use(0, tokens=60)


def a_grant_is_taken_back_before_it_was_applied(stage: Stage) -> None:
    stage.give(0)
    assert stage.agent.post({1: stage.agent.everything()})
    other = Agent(stage.world)
    other.read()
    if stage.naive:
        assert other.book is not None
        holders = (other.book.holders[0], msgspec.structs.replace(other.book.holders[1], granted={}))
        taken = msgspec.structs.replace(other.book, holders=holders, version=other.book.version + 1)
        assert stage.world.keeping.put(TENANT, taken)
        other.read()
    assert stage.agent.sync(1)
    other.look(0)
    assert other.post({0: other.everything()})
    other.sync(0)
    stage.use(1, tokens=90)
    other.look(0)
    other.admit(0, Units(tokens=90))


def a_shard_is_deleted_and_an_old_copy_makes_it_again(stage: Stage) -> None:
    stage.give(0)
    stage.grant(1)
    old = stage.agent.book
    stage.give(1)
    stage.grant(0)
    stage.use(0, tokens=90)
    if stage.naive:
        stage.meters.change(meter_of(TENANT, 1), lambda _: Meter(UNSHARED, {}, {}, {}))
    stage.agent.book = old
    stage.agent.look(1)
    stage.agent.sync(1)
    stage.use(1, tokens=90)


STORIES = [
    the_count_moves_and_what_is_owed_shrinks_with_it,
    room_of_the_new_window_is_used_in_the_old_one,
    a_refund_makes_room_while_more_is_used_than_there_is,
    an_old_copy_of_the_book_gives_twice,
    the_epoch_comes_before_the_shares,
    a_grant_is_taken_back_before_it_was_applied,
    a_shard_is_deleted_and_an_old_copy_makes_it_again,
]
stories = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)


@stories
def test_a_simpler_version_passes_a_limit(story: Callable[[Stage], None]) -> None:
    stage = Stage(naive=True)
    with pytest.raises(AssertionError, match=r"over its curve|: \d+ of \d+"):
        _play(story, stage)


@stories
def test_ours_does_not(story: Callable[[Stage], None]) -> None:
    stage = Stage(naive=False)
    _play(story, stage)
    assert stage.world.count, "nothing was admitted"


def _play(story: Callable[[Stage], None], stage: Stage) -> None:
    story(stage)
    stage.world.checker.curves(0)
