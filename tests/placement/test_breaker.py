import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chalicelib.placement import breaker
from chalicelib.placement.breaker import CLOSED, PROBE, Breaker, Rule

EVERYBODYS = Rule(failures=3, pause_ms=10_000)
OWN = Rule(failures=3, pause_ms=10_000, witnesses=1)


def failed_by(*witnesses: str, now_ms: int = 0, rule: Rule = EVERYBODYS) -> Breaker:
    value = CLOSED
    for witness in witnesses:
        value = breaker.failed(value, now_ms, rule, witness)
    return value


OPEN = failed_by("a", "b", "a")


@pytest.mark.parametrize(
    ("story", "left_alone"),
    [
        pytest.param("a a", False, id="too few"),
        pytest.param("a b", False, id="of two tenants, and too few"),
        pytest.param("a a a", False, id="of one tenant"),
        pytest.param("a a a a a a a a a", False, id="of one tenant, however many"),
        pytest.param("a a b", True, id="of two tenants"),
        pytest.param("a a a a b", True, id="the second one comes late"),
        pytest.param("a a ok a b", False, id="an answer in between"),
        pytest.param("~ ~ ~", True, id="it cannot be reached"),
        pytest.param("a a ~", True, id="one tenant, and it cannot be reached"),
        pytest.param("probe probe probe", False, id="probes alone, of what nobody calls"),
        pytest.param("a a probe", False, id="a probe is no failure of a call"),
        pytest.param("a a probe a", True, id="a probe has seen it, too"),
        pytest.param("a a a probe", True, id="a probe sees it afterwards"),
        pytest.param("a a a ok probe", False, id="a probe fails where calls do not"),
    ],
)
def test_whose_failures_shut_a_target_to_everybody(story: str, left_alone: bool) -> None:
    value = CLOSED
    for event in story.split():
        match event:
            case "ok":
                value = breaker.succeeded(value)
            case "probe":
                value = breaker.confirmed(value, 0, EVERYBODYS)
            case _:
                value = breaker.failed(value, 0, EVERYBODYS, PROBE if event == "~" else event)
    assert breaker.admits(value, 0) != left_alone
    assert breaker.admits(value, EVERYBODYS.pause_ms)


@given(st.integers(0, 6), st.integers(0, 30_000))
def test_a_tenants_own_opens_at_the_last_of_its_consecutive_failures_and_for_the_pause(
    failures: int, now_ms: int
) -> None:
    value = failed_by(*["a"] * failures, rule=OWN)
    assert breaker.admits(value, now_ms) == (failures < OWN.failures or now_ms >= OWN.pause_ms)


def test_after_the_pause_exactly_one_may_try() -> None:
    assert breaker.admits(OPEN, 10_000)
    trying = breaker.tried(OPEN)
    assert not breaker.admits(trying, 1_000_000)
    assert breaker.admits(breaker.trial_over(trying), 10_000), "a trial that says nothing lets the next one try"


def after_trials(*witnesses: str, rule: Rule = EVERYBODYS, value: Breaker = OPEN) -> Breaker:
    for witness in witnesses:
        value = breaker.trial_over(breaker.failed(breaker.tried(value), 10_000, rule, witness))
    return value


@pytest.mark.parametrize(
    ("trials", "open_again"),
    [(("a",), False), (("a", "a"), False), (("a", "b"), True), ((PROBE,), True)],
)
def test_failed_trials_of_two_tenants_open_it_for_another_pause(trials: tuple[str, ...], open_again: bool) -> None:
    value = after_trials(*trials)
    assert breaker.admits(value, 19_999) != open_again
    assert breaker.admits(value, 20_000)


def test_a_tenants_own_needs_one_failed_trial() -> None:
    value = after_trials("a", rule=OWN, value=failed_by("a", "a", "a", rule=OWN))
    assert not breaker.admits(value, 19_999)


def test_a_trial_that_is_answered_closes_it_on_probation() -> None:
    value = breaker.answered(breaker.tried(OPEN))
    assert breaker.admits(value, 0)
    one = breaker.failed(value, 0, EVERYBODYS, "a")
    assert breaker.admits(one, 0)
    assert not breaker.admits(breaker.failed(one, 0, EVERYBODYS, "b"), 9_999)
    assert breaker.succeeded(value) == CLOSED


def test_an_old_answer_that_completes_does_not_close_what_new_calls_opened() -> None:
    assert breaker.succeeded(OPEN) == OPEN


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens in whatever order: one trial at a time, no target is lost for ever, and none by one tenant."""

    @initialize(own=st.booleans())
    def start(self, own: bool) -> None:
        self.value = CLOSED
        self.now_ms = 0
        self.trials = 0
        self.others = 0
        self.witnesses: set[str] = set()
        self.rule = OWN if own else EVERYBODYS

    def failed(self, witness: str) -> None:
        self.witnesses.add(witness)
        self.value = breaker.failed(self.value, self.now_ms, self.rule, witness)

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
    @rule(how=st.sampled_from(["answered", "failed", "silent"]), witness=st.sampled_from(["a", "b", PROBE]))
    def trial_ends(self, how: str, witness: str) -> None:
        self.trials -= 1
        if how == "answered":
            self.value = breaker.answered(self.value)
            self.others += 1
        else:
            if how == "failed":
                self.failed(witness)
            self.value = breaker.trial_over(self.value)

    @precondition(lambda self: self.others)
    @rule(well=st.booleans(), witness=st.sampled_from(["a", "b"]))
    def other_ends(self, well: bool, witness: str) -> None:
        self.others -= 1
        if well:
            self.value = breaker.succeeded(self.value)
        else:
            self.failed(witness)

    @rule()
    def probe_fails(self) -> None:
        if self.value.failures:
            self.witnesses.add(PROBE)
        self.value = breaker.confirmed(self.value, self.now_ms, self.rule)

    @invariant()
    def at_most_one_trial(self) -> None:
        assert self.trials <= 1
        assert self.value.on_trial == (self.trials == 1)

    @invariant()
    def never_lost(self) -> None:
        if not self.trials:
            assert breaker.admits(self.value, self.now_ms + self.rule.pause_ms)

    @invariant()
    def closed_below_the_threshold(self) -> None:
        if self.value.failures < self.rule.failures:
            assert self.value.retry_at_ms is None

    @invariant()
    def closed_for_want_of_witnesses(self) -> None:
        if PROBE not in self.witnesses and len(self.witnesses) < self.rule.witnesses:
            assert self.value.retry_at_ms is None


TestAnyHistory = AnyHistory.TestCase
