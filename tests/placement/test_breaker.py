from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chalicelib.placement import breaker
from chalicelib.placement.breaker import CLOSED, Breaker, Rule

RULE = Rule(failures=3, pause_ms=10_000)


def failed_times(times: int, now_ms: int = 0) -> Breaker:
    value = CLOSED
    for _ in range(times):
        value = breaker.failed(value, now_ms, RULE)
    return value


@given(st.integers(0, 6), st.integers(0, 30_000))
def test_it_opens_at_the_last_of_the_consecutive_failures_and_for_the_pause(failures: int, now_ms: int) -> None:
    value = failed_times(failures)
    assert breaker.admits(value, now_ms) == (failures < RULE.failures or now_ms >= RULE.pause_ms)


def test_a_success_starts_the_count_anew() -> None:
    value = breaker.succeeded(failed_times(2))
    assert breaker.admits(breaker.failed(breaker.failed(value, 0, RULE), 0, RULE), 0)


def test_after_the_pause_exactly_one_may_try() -> None:
    value = failed_times(3)
    assert breaker.admits(value, 10_000)
    trying = breaker.tried(value)
    assert not breaker.admits(trying, 1_000_000)
    assert breaker.admits(breaker.trial_over(trying), 10_000), "a trial that says nothing lets the next one try"


def test_a_trial_that_fails_opens_it_for_another_pause() -> None:
    value = breaker.trial_over(breaker.failed(breaker.tried(failed_times(3)), 10_000, RULE))
    assert not breaker.admits(value, 19_999)
    assert breaker.admits(value, 20_000)


def test_a_trial_that_is_answered_closes_it_on_probation() -> None:
    value = breaker.answered(breaker.tried(failed_times(3)))
    assert breaker.admits(value, 0)
    assert not breaker.admits(breaker.failed(value, 0, RULE), 9_999)
    assert breaker.succeeded(value) == CLOSED


def test_an_old_answer_that_completes_does_not_close_what_new_calls_opened() -> None:
    value = failed_times(3)
    assert breaker.succeeded(value) == value


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens in whatever order: one trial at a time, and no target is lost for ever."""

    @initialize()
    def start(self) -> None:
        self.value = CLOSED
        self.now_ms = 0
        self.trials = 0
        self.others = 0

    @rule(by_ms=st.integers(0, 15_000))
    def time_passes(self, by_ms: int) -> None:
        self.now_ms += by_ms

    @rule()
    def try_it(self) -> None:
        if breaker.admits(self.value, self.now_ms):
            if self.value.retry_at_ms is None:
                self.others += 1
            else:
                self.trials += 1
            self.value = breaker.tried(self.value)

    @precondition(lambda self: self.trials)
    @rule(how=st.sampled_from(["answered", "failed", "silent"]))
    def trial_ends(self, how: str) -> None:
        self.trials -= 1
        if how == "answered":
            self.value = breaker.answered(self.value)
            self.others += 1
        else:
            if how == "failed":
                self.value = breaker.failed(self.value, self.now_ms, RULE)
            self.value = breaker.trial_over(self.value)

    @precondition(lambda self: self.others)
    @rule(well=st.booleans())
    def other_ends(self, well: bool) -> None:
        self.others -= 1
        self.value = breaker.succeeded(self.value) if well else breaker.failed(self.value, self.now_ms, RULE)

    @invariant()
    def at_most_one_trial(self) -> None:
        assert self.trials <= 1
        assert self.value.on_trial == (self.trials == 1)

    @invariant()
    def never_lost(self) -> None:
        if not self.trials:
            assert breaker.admits(self.value, self.now_ms + RULE.pause_ms)

    @invariant()
    def closed_below_the_threshold(self) -> None:
        if self.value.failures < RULE.failures:
            assert self.value.retry_at_ms is None


TestAnyHistory = AnyHistory.TestCase
