"""Shares under whatever is written, by whomever, from however old a copy, in whatever order, and whoever dies."""

from contextlib import suppress

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from chalicelib.admission.limits import Budget, Limits, Rate, Units
from chalicelib.admission.shares.book import is_settled
from tests.admission.backing import BackingName, open_backing
from tests.admission.shares.world import TENANT, Agent, Dead, World
from tests.examples import examples
from tests.stores import Served

numbers = st.integers(0, 3)
agents = st.integers(0, 2)


@st.composite
def some_limits(draw: st.DrawFn) -> Limits:
    """Small numbers, so that every limit bites; of which some are the same again, and some are not there at all."""
    rates = (
        Rate("pace", "requests", draw(st.sampled_from([3, 10, 10, 40])), 1_000, draw(st.integers(25, 60))),
        Rate("flow", "tokens", 30, 1_000, draw(st.sampled_from([60, 90]))),
    )
    budgets = (
        Budget(
            "most",
            "tokens",
            draw(st.sampled_from([0, 7, 20, 60, 5_000])),
            "minute",
            draw(st.sampled_from([1, 1, 0])) > 0,
        ),
        Budget("soft", "requests", 3, "minute", hard=False),
    )
    return Limits(
        rates[draw(st.sampled_from([0, 0, 1])) : draw(st.sampled_from([1, 1, 2]))],
        budgets[draw(st.sampled_from([0, 0, 1])) :],
        draw(st.sampled_from([200, 200, 1, 3, 8])),
    )


class Machine(RuleBasedStateMachine):
    """Three agents, whose clocks differ, one tenant, and up to four shards."""

    def __init__(self, backing_name: BackingName, stores: Served, skew_ms: int) -> None:
        super().__init__()
        self.backing_name = backing_name
        self.stores = stores
        self.skew_ms = skew_ms

    @initialize(of=some_limits(), offsets=st.lists(st.integers(-1, 1), min_size=3, max_size=3), shards=numbers)
    def open(self, of: Limits, offsets: list[int], shards: int) -> None:
        self.world = World(open_backing(self.backing_name, self.stores), of, shards + 1)
        self.agents = [Agent(self.world, offset * self.skew_ms) for offset in offsets]
        self.world.steward().divide(TENANT)

    # Single writes, each from whatever copies its agent has

    @rule(which=agents)
    def read(self, which: int) -> None:
        self.agents[which].read()

    @rule(which=agents, number=numbers)
    def look(self, which: int, number: int) -> None:
        self.agents[which].look(number)

    @rule(which=agents, number=numbers, amount=st.integers(1, 50), pick=st.integers(0, 9))
    def post(self, which: int, number: int, amount: int, pick: int) -> None:
        agent = self.agents[which]
        if agent.book is not None:
            component = sorted(agent.book.whole)[pick % len(agent.book.whole)]
            agent.post({number: {component: amount * (1_000 if component.endswith("c") else 1)}})

    @rule(which=agents, number=numbers, amount=st.integers(0, 60), pick=st.integers(0, 9))
    def sync(self, which: int, number: int, amount: int, pick: int) -> None:
        agent = self.agents[which]
        if agent.book is not None:
            component = sorted(agent.book.whole)[pick % len(agent.book.whole)]
            agent.sync(number, {component: amount * (1_000 if component.endswith("c") else 1)})

    @rule(which=agents, shards=numbers)
    def arrange(self, which: int, shards: int) -> None:
        self.world.shards = shards + 1
        self.agents[which].post(shards=shards + 1)

    @rule(which=agents, of=some_limits())
    def change_the_book_alone(self, which: int, of: Limits) -> None:
        """Whoever changes limits dies after the first write."""
        self.world.checker.change(of)
        self.agents[which].post(change=True)

    # All steps of a steward, who may die in the midst

    @rule(which=agents, writes=st.sampled_from([0, 1, 2, 3, 5, 8, 99]))
    def level(self, which: int, writes: int) -> None:
        with suppress(Dead):
            self.world.steward(self.agents[which].offset_ms, writes).level(TENANT)

    @rule(which=agents, shards=numbers, writes=st.sampled_from([0, 1, 2, 3, 5, 8, 99]))
    def divide(self, which: int, shards: int, writes: int) -> None:
        self.world.shards = shards + 1
        with suppress(Dead):
            self.world.steward(self.agents[which].offset_ms, writes).divide(TENANT)

    @rule(which=agents, of=st.one_of(st.none(), some_limits()), writes=st.sampled_from([0, 1, 2, 3, 5, 99, 99]))
    def bump(self, which: int, of: Limits | None, writes: int) -> None:
        if of is not None:
            self.world.checker.change(of)
        before = self._epoch()
        with suppress(Dead):
            self.world.steward(self.agents[which].offset_ms, writes).bump(TENANT)
            assert self._epoch() > before
            self.world.checker.floor = self._epoch()

    # Shapes that single steps rarely make

    @rule(which=st.integers(0, 1), number=st.integers(0, 1), units=st.integers(1, 12), times=st.integers(3, 9),
          pause_ms=st.sampled_from([0, 60, 260, 700, 20_000]), places=st.booleans())  # fmt: skip
    def squeeze(self, which: int, number: int, units: int, times: int, pause_ms: int, places: bool) -> None:
        """Use one shard, move all that it can give to the other, use that, and the first again."""
        agent, other = self.agents[which], self.agents[1 - which]
        one, two = number, 1 - number
        for each in (two, one):
            agent.look(each)
            self._hammer(agent, each, units, times)
        self.world.now_ms += pause_ms
        agent.read()
        if agent.book is None:
            return
        agent.look(one, two)
        agent.sync(one, agent.everything(places=places))
        agent.post({two: agent.everything()})
        agent.look(two)
        agent.sync(two)
        self._hammer(other, two, units, times)
        self._hammer(agent, two, units, times)
        self._hammer(agent, one, units, times)

    @rule(slow=agents, fast=agents, amount=st.integers(1, 12), times=st.integers(2, 6), early_ms=st.integers(1, 150))
    def over_the_edge_of_a_window(self, slow: int, fast: int, amount: int, times: int, early_ms: int) -> None:
        """Room of the window that has just turned goes to a shard, where a slower clock is still in the old one."""
        edge_ms = (self.world.now_ms // 60_000 + 1) * 60_000
        self.world.now_ms = edge_ms - early_ms - self.skew_ms
        self._hammer(self.agents[slow], 1, amount, times)
        self.world.now_ms = max(self.world.now_ms, edge_ms - self.agents[fast].offset_ms + 1)
        agent = self.agents[fast]
        self._hammer(agent, 0, amount, 1)
        agent.read()
        if agent.book is None:
            return
        agent.look(0, 1)
        agent.sync(0, agent.everything(places=False))
        agent.post({1: agent.everything()})
        agent.look(1)
        agent.sync(1)
        self._hammer(self.agents[slow], 1, amount, times)

    @rule(which=agents, lower=st.sampled_from([7, 20]), amount=st.integers(1, 12), times=st.integers(2, 6))
    def refund_under_hold(self, which: int, lower: int, amount: int, times: int) -> None:
        """A budget is lowered below its use, and what is refunded on one shard is not to be used there."""
        agent, before = self.agents[which], self.world.checker.of[self.world.checker.current]
        for number in (0, 1):
            self._hammer(agent, number, amount, times)
        budgets = tuple(Budget(each.name, each.unit, lower, each.window, each.hard) for each in before.budgets)
        self.world.checker.change(Limits(before.rates, budgets, before.in_flight))
        self.world.steward().bump(TENANT)
        self.world.checker.floor = self._epoch()
        for lease_id in list(self.world.leases)[:times]:
            self._settle(agent, lease_id, 0)
        for number in (0, 1):
            self._hammer(agent, number, amount, times)

    # Requests

    @rule(which=agents, number=numbers, requests=st.integers(1, 12), tokens=st.integers(0, 12), times=st.integers(1, 6),
          pause_ms=st.sampled_from([0, 0, 30, 120]))  # fmt: skip
    def admit(self, which: int, number: int, requests: int, tokens: int, times: int, pause_ms: int) -> None:
        for _ in range(times):
            self.agents[which].admit(number, Units(requests=requests, tokens=tokens))
            self.world.now_ms += pause_ms

    @rule(which=agents, pick=st.integers(0, 99), charged=st.integers(0, 12))
    def settle(self, which: int, pick: int, charged: int) -> None:
        if self.world.leases:
            self._settle(self.agents[which], sorted(self.world.leases)[pick % len(self.world.leases)], charged)

    @rule(ms=st.sampled_from([1, 10, 50, 100, 249, 251, 400, 1_000, 2_500, 13_000, 61_000]))
    def wait(self, ms: int) -> None:
        self.world.now_ms += ms

    @rule(which=agents)
    def die(self, which: int) -> None:
        """And lose all copies."""
        self.agents[which] = Agent(self.world, self.agents[which].offset_ms)

    # What must be true

    @invariant()
    def what_a_shard_has_the_book_counts(self) -> None:
        if not hasattr(self, "world"):
            return
        book = self.world.book()
        if book is None:
            return
        ids = set(book.ids.values())
        for number, shard in self.world.all().items():
            assert shard.epoch <= book.epoch or (number == 0 and not shard.divided)
            if not shard.divided or number >= len(book.holders):
                continue
            holder = book.holders[number]
            for component in {*shard.granted, *holder.granted}:
                if component[:-1] in ids:
                    assert shard.granted.get(component, 0) <= holder.granted.get(component, 0)
                    assert holder.returned.get(component, 0) <= shard.returned.get(component, 0)
                    assert shard.share(component) >= 0

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.checker.curves(4 * self.skew_ms)
        # Nothing is lost for ever: all ends, all rests, and every limit is there as a whole.
        for lease_id in list(world.leases):
            self._settle(self.agents[0], lease_id, 0)
        world.now_ms += 400_000
        world.steward().bump(TENANT)
        world.steward().divide(TENANT)
        world.steward().level(TENANT)
        state = world.steward().state(TENANT)
        if world.shards == 1:
            assert state is None or not state.shards[0].divided
            return
        assert state is not None
        assert state.shards[0].divided
        assert is_settled(state.book)
        for component, amount in state.book.whole.items():
            parts = [state.shards[number].share(component) for number in range(world.shards)]
            assert sum(parts) == amount
            assert max(parts) - min(parts) <= 1
        assert not any(shard.held for shard in state.shards.values())

    # Means

    def _epoch(self) -> int:
        first = self.world.all()[0]
        return first.epoch

    def _hammer(self, agent: Agent, number: int, units: int, times: int) -> None:
        for _ in range(times):
            agent.admit(number, Units(requests=units, tokens=units))

    def _settle(self, agent: Agent, lease_id: str, charged: int) -> None:
        agent.settle(lease_id, charged)
        del self.world.leases[lease_id]
        self.world.checker.settled(lease_id, charged)


@pytest.mark.parametrize(
    ("backing_name", "skew_ms", "number", "steps"),
    [("memory", 0, 150, 50), ("memory", 200, 150, 50), ("local", 200, 3, 25), ("ministack", 200, 6, 25)],
)
def test_no_limit_is_passed(stores: Served, backing_name: BackingName, skew_ms: int, number: int, steps: int) -> None:
    class Here(Machine):
        def __init__(self) -> None:
            super().__init__(backing_name, stores, skew_ms)

    chosen = settings(max_examples=examples(number), stateful_step_count=steps, phases=[Phase.generate, Phase.shrink])
    run_state_machine_as_test(Here, settings=chosen)
