"""The line in front of the models: what holds for every sequence of arrivals, departures and waits."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serving.queue import FairQueue, Limits, QueuedRequest
from serving.refusal import NoRoom
from tests.examples import examples

TENANTS = ("a", "b", "c", "d")


class Line(RuleBasedStateMachine):
    """Everybody enters, starts and leaves as they like, while a plain list keeps count."""

    @initialize(capacity=st.integers(1, 3), bound=st.integers(1, 8), tenant_bound=st.integers(1, 8))
    def open(self, capacity: int, bound: int, tenant_bound: int) -> None:
        self.limits = Limits(capacity, bound, tenant_bound, aging_ms=100)
        self.queue = FairQueue(self.limits)
        self.now_ms = 0
        self.numbers = 0
        self.running: list[QueuedRequest] = []
        self.waiting: list[QueuedRequest] = []

    def advance(self) -> None:
        begun = self.queue.start(self.now_ms)
        assert set(begun) <= set(self.waiting)
        assert len(set(begun)) == len(begun)
        self.running += begun
        self.waiting = [request for request in self.waiting if request not in begun]

    @rule(tenant=st.sampled_from(TENANTS), priority=st.integers(0, 9))
    def enter(self, tenant: str, priority: int) -> None:
        self.numbers += 1
        request = QueuedRequest(self.numbers, tenant, priority, self.now_ms)
        try:
            self.queue.enter(request)
        except NoRoom as refused:
            mine = [other for other in self.waiting if other.tenant == tenant]
            assert len(self.waiting) == self.limits.bound or len(mine) == self.limits.tenant_bound
            assert refused.retry_after_s is not None
            assert refused.retry_after_s >= 1
            return
        self.waiting.append(request)
        self.advance()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.running))
        self.running.remove(request)
        self.queue.leave(request, self.now_ms)
        self.advance()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(request)
        self.queue.leave(request, self.now_ms)
        self.advance()

    @rule(ms=st.integers(0, 500))
    def wait(self, ms: int) -> None:
        self.now_ms += ms

    @invariant()
    def never_over_capacity_nor_over_bound(self) -> None:
        assert self.queue.in_flight == len(self.running) <= self.limits.capacity
        assert self.queue.depth == len(self.waiting) <= self.limits.bound
        assert max(Counter(request.tenant for request in self.waiting).values(), default=0) <= self.limits.tenant_bound

    @invariant()
    def nobody_waits_while_a_slot_is_free(self) -> None:
        assert not self.waiting or len(self.running) == self.limits.capacity

    @invariant()
    def everybody_who_waits_has_a_place_and_later_places_start_later(self) -> None:
        forecasts = self.queue.forecasts(self.now_ms)
        assert set(forecasts) == {request.number for request in self.waiting}
        in_order = sorted(forecasts.values(), key=lambda forecast: forecast.position)
        assert [forecast.position for forecast in in_order] == list(range(1, len(in_order) + 1))
        starts = [forecast.start_in_ms for forecast in in_order]
        assert starts == sorted(starts)


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)


@dataclass
class Run:
    """A line of one slot that is always busy: `order` is who started, in order."""

    queue: FairQueue
    now_ms: int = 0
    numbers: int = 0

    def enter(self, tenant: str, priority: int = 5) -> QueuedRequest:
        self.numbers += 1
        request = QueuedRequest(self.numbers, tenant, priority, self.now_ms)
        self.queue.enter(request)
        return request

    def next(self, ms: int = 1) -> QueuedRequest:
        """Whoever runs ends after `ms`; the one that starts then."""
        self.now_ms += ms
        (request,) = self.queue.start(self.now_ms)
        self.queue.leave(request, self.now_ms)
        return request


def line(aging_ms: int = 1000) -> Run:
    return Run(FairQueue(Limits(capacity=1, bound=1000, tenant_bound=1000, aging_ms=aging_ms)))


@given(
    before=st.lists(st.sampled_from(TENANTS[1:]), max_size=30),
    after=st.lists(st.sampled_from(TENANTS[1:]), max_size=30),
    priority=st.integers(0, 9),
    ms=st.integers(0, 3000),
)
def test_one_waiting_request_is_overtaken_at_most_once_by_each_other_tenant(
    before: list[str], after: list[str], priority: int, ms: int
) -> None:
    run = line()
    for tenant in before:
        run.enter(tenant, priority)
    mine = run.enter("a", priority)
    overtaken: Counter[str] = Counter()
    while (started := run.next(ms)) is not mine:
        overtaken[started.tenant] += 1
        if after:
            run.enter(after.pop(), priority)
    assert max(overtaken.values(), default=0) <= 1


@given(st.lists(st.tuples(st.sampled_from(TENANTS), st.integers(0, 9)), min_size=1, max_size=40))
def test_while_nothing_ages_the_higher_priority_goes_first_and_a_tenants_own_order_is_kept(
    arrivals: list[tuple[str, int]],
) -> None:
    run = line(aging_ms=10**9)
    requests = [run.enter(tenant, priority) for tenant, priority in arrivals]
    started = [run.next() for _ in requests]
    assert [request.priority for request in started] == sorted((request.priority for request in requests), reverse=True)
    for tenant in TENANTS:
        for priority in range(10):
            numbers = [each.number for each in started if (each.tenant, each.priority) == (tenant, priority)]
            assert numbers == sorted(numbers)


@given(low=st.integers(0, 8), service_ms=st.integers(1, 400), rival=st.integers(1, 9))
def test_a_low_priority_starts_at_last_however_busy_the_classes_above_are(
    low: int, service_ms: int, rival: int
) -> None:
    run = line(aging_ms=100)
    run.enter("b", 9)
    mine = run.enter("a", low)
    gap_ms = (9 - low + 1) * 100
    while run.next(service_ms) is not mine:
        run.enter("b", max(low, rival))
        assert run.now_ms <= gap_ms + service_ms


def test_an_old_heap_of_low_priority_does_not_shut_out_the_urgent() -> None:
    run = line(aging_ms=100)
    for _ in range(50):
        run.enter("b", 0)
    run.now_ms += 10_000
    urgent = run.enter("a", 9)
    started = [run.next(1), run.next(1)]
    assert urgent in started, "aging owes a class one start, not all it has waiting"


@given(st.lists(st.tuples(st.sampled_from(TENANTS), st.integers(0, 9)), min_size=1, max_size=30), st.integers(0, 5000))
def test_the_place_one_is_told_is_the_place_one_gets_if_nobody_else_comes(
    arrivals: list[tuple[str, int]], waited_ms: int
) -> None:
    run = line()
    for tenant, priority in arrivals:
        run.enter(tenant, priority)
    run.now_ms += waited_ms
    told = run.queue.forecasts(run.now_ms)
    started = [run.next(0) for _ in arrivals]
    assert [told[request.number].position for request in started] == list(range(1, len(started) + 1))


def test_the_prediction_follows_the_time_that_requests_take() -> None:
    run = line()
    for _ in range(60):
        run.enter("a")
    for _ in range(50):
        (request,) = run.queue.start(run.now_ms)
        run.now_ms += 200
        run.queue.leave(request, run.now_ms)
    assert run.queue.service_ms == pytest.approx(200, rel=0.01)
    run.queue.start(run.now_ms)
    starts = [forecast.start_in_ms for forecast in run.queue.forecasts(run.now_ms).values()]
    assert sorted(starts) == pytest.approx([200 * place for place in range(1, 10)], rel=0.02)


def test_a_full_line_says_when_to_come_back() -> None:
    queue = FairQueue(Limits(capacity=1, bound=3, tenant_bound=3))
    for number in range(4):
        queue.enter(QueuedRequest(number, "a", 5, 0))
        queue.start(0)
    with pytest.raises(NoRoom) as refused:
        queue.enter(QueuedRequest(9, "b", 9, 0))
    assert refused.value.retry_after_s == 4, "one runs and three wait, at a second each"
