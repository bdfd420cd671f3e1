"""Predictions and judgements: what may be admitted is, what may not never is, whatever was predicted."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chalicelib.admission.decision import (
    Again,
    Already,
    Denied,
    Reservation,
    Spent,
    Stale,
    impossible,
    judge,
    predict,
    release,
    standing,
    still_to_do,
)
from chalicelib.admission.denial import Denial, refusal, strictest
from chalicelib.admission.limits import Budget, Units
from chalicelib.admission.meter import Held, Meter
from chalicelib.refusal import Crowded, OverBudget, QuotaExhausted, RateLimited
from tests.admission.arrange import MONTH, ROOMY, T0, asks_and_meters, limits
from tests.examples import examples

denials = st.builds(
    Denial,
    kind=st.sampled_from(["plan", "tenant", "rate", "crowd"]),
    limit=st.sampled_from("abc"),
    unit=st.sampled_from(["requests", "tokens"]),
    remaining=st.integers(0, 3),
    wait_ms=st.integers(0, 3),
    quota=st.integers(0, 2),
)
some_denials = st.lists(denials, min_size=1, max_size=6)


@settings(max_examples=examples(400))
@given(asks_and_meters())
def test_a_prediction_from_the_truth_is_admitted_unless_the_truth_denies(
    case: tuple[Reservation, Meter, Meter],
) -> None:
    ask, truth, _ = case
    assume(impossible(ask.limits, ask.units) is None)
    admitted = predict(ask, truth).holds(truth)
    assert admitted == isinstance(judge(ask, truth), Again)


@settings(max_examples=examples(400))
@given(asks_and_meters())
def test_no_prediction_gets_past_a_denial_an_old_epoch_or_its_own_lease(case: tuple[Reservation, Meter, Meter]) -> None:
    ask, truth, seen = case
    assume(impossible(ask.limits, ask.units) is None)
    for write in (predict(ask, seen), predict(ask, None)):
        if write.holds(truth):
            assert isinstance(judge(ask, truth), Again)


@settings(max_examples=examples(100))
@given(asks_and_meters())
def test_an_admission_adds_what_was_asked_and_changes_nothing_else(case: tuple[Reservation, Meter, Meter]) -> None:
    ask, truth, seen = case
    write = predict(ask, seen)
    assume(write.holds(truth))
    after = write.apply(truth)
    assert set(after.leases) == {*truth.leases, ask.lease_id}
    assert len(after.leases) <= ask.limits.in_flight
    assert after.epoch == truth.epoch
    for key, (window, units) in write.held.windows.items():
        before = truth.windows.get(key, ("", 0))
        assert after.windows[key] == (window, units + (before[1] if before[0] == window else 0))


@settings(max_examples=examples(150))
@given(asks_and_meters())
def test_a_denial_ends_exactly_when_it_says(case: tuple[Reservation, Meter, Meter]) -> None:
    ask, truth, _ = case
    assume(impossible(ask.limits, ask.units) is None)
    truth = Meter(ask.epoch, truth.tats, truth.windows, {})
    verdict = judge(ask, truth)
    assume(isinstance(verdict, Denied))
    assert isinstance(verdict, Denied)
    wait_ms = strictest(verdict.denials).wait_ms

    def then(later_ms: int) -> object:
        return judge(Reservation(ask.tenant, ask.epoch, ask.limits, ask.units, "0x", ask.now_ms + later_ms, 0), truth)

    assert isinstance(then(wait_ms), Again)
    assert isinstance(then(wait_ms - 1), Denied)


@given(some_denials, some_denials)
def test_strictest_does_not_mind_order_grouping_or_repetition(some: list[Denial], more: list[Denial]) -> None:
    assert strictest(some + more) == strictest(more + some)
    assert strictest(some + more) == strictest([strictest(some), strictest(more)])
    assert strictest(some + some) == strictest(some)
    assert strictest(some) in some


def test_each_limit_denies_in_its_own_words() -> None:
    cases = {"rate": RateLimited, "plan": QuotaExhausted, "tenant": OverBudget, "crowd": Crowded}
    for kind, expected in cases.items():
        refused = refusal(Denial(kind, "name", "tokens", remaining=3, wait_ms=1_234, quota=10, period_ms=60_000))  # type: ignore[arg-type]
        assert type(refused) is expected
        assert (refused.limit, refused.remaining, refused.retry_in_ms) == ("name", 3, 1_234)


def test_a_meter_that_is_gone_is_a_stale_copy() -> None:
    ask = Reservation("acme", 1, limits(), Units(requests=1), "0x", T0, T0 + 1)
    assert judge(ask, None) == Stale()


def test_its_own_lease_is_success_even_under_a_newer_epoch() -> None:
    held = Held(T0 + 1, T0, {})
    ask = Reservation("acme", 1, limits(), Units(requests=1), "0x", T0, T0 + 1)
    assert judge(ask, Meter(2, {}, {}, {"0x": held})) == Already(held)


def test_a_window_ahead_of_our_clock_is_the_current_one() -> None:
    budget = Budget("month", "tokens", 100, "month")
    ask = Reservation("acme", 1, limits(budget), Units(requests=1, tokens=60), "0x", T0, T0 + 1)
    ahead = Meter(1, {}, {"month.tm": ("2026-12", 50)}, {})
    verdict = judge(ask, ahead)
    assert isinstance(verdict, Denied)
    assert verdict.denials[0].window == "2026-12"
    assert predict(ask, Meter(1, {}, {"month.tm": ("2026-12", 40)}, {})).held.windows == {"month.tm": ("2026-12", 60)}


def test_limits_of_units_that_a_call_does_not_use_are_left_alone() -> None:
    ask = Reservation("acme", 1, limits(ROOMY, MONTH), Units(requests=1), "0x", T0, T0 + 1)
    write = predict(ask, None)
    assert [step.key for step in write.steps] == ["roomy.r1000/1000"]
    assert write.held.windows == {}


def test_what_no_limit_names_any_more_is_dropped_once_it_means_nothing() -> None:
    ask = Reservation("acme", 1, limits(ROOMY), Units(requests=1), "0x", T0, T0 + 1)
    seen = Meter(
        1,
        {"old.r1/1000": (T0 - 1_000) * 1_000, "owing.r1/1000": (T0 + 1_000) * 1_000},
        {"old.tm": ("2026-10", 5), "now.tm": ("2026-11", 5)},
        {},
    )
    write = predict(ask, seen)
    assert (write.spent.tats, write.spent.windows) == (("old.r1/1000",), ("old.tm",))
    # Under another epoch the old name may be in use again.
    assert predict(ask, Meter(2, seen.tats, seen.windows, {})).spent == Spent()


def test_a_release_gives_back_what_was_not_charged() -> None:
    reserved = {"month.tm": ("2026-11", 60), "own.md": ("2026-11-18", 9)}
    meter = Meter(1, {}, {"month.tm": ("2026-11", 100), "own.md": ("2026-11-18", 9)}, {"0x": Held(T0, T0, reserved)})
    todo = release("acme", "0x", meter.leases["0x"], Units(requests=1, tokens=10, micro_usd=9))
    assert todo.holds(meter)
    after = todo.apply(meter)
    assert after.windows == {"month.tm": ("2026-11", 50), "own.md": ("2026-11-18", 9)}
    assert after.leases == {}


def test_a_release_leaves_a_window_alone_that_has_turned() -> None:
    reserved = {"month.tm": ("2026-10", 60), "own.md": ("2026-11-18", 9)}
    meter = Meter(1, {}, {"month.tm": ("2026-11", 100), "own.md": ("2026-11-18", 9)}, {"0x": Held(T0, T0, reserved)})
    todo = release("acme", "0x", meter.leases["0x"], Units())
    assert not todo.holds(meter)
    left = still_to_do(todo, meter)
    assert left is not None
    assert left.holds(meter)
    assert left.apply(meter).windows == {"month.tm": ("2026-11", 100), "own.md": ("2026-11-18", 0)}
    assert still_to_do(left, left.apply(meter)) is None


def test_standing_says_what_is_left_of_every_limit() -> None:
    meter = Meter(1, {"roomy.r1000/1000": (T0 + 1_000) * 1_000}, {"month.tm": ("2026-11", 400_000)}, {})
    rate, budget = standing(limits(ROOMY, MONTH), meter, T0)
    assert (rate.quota, rate.window_s, rate.remaining, rate.reset_ms) == (10_000, 10, 8_750, 1_250)
    assert (budget.quota, budget.window_s, budget.remaining) == (1_000_000, 30 * 86_400, 600_000)
    assert standing(limits(MONTH), Meter(1, {}, {"month.tm": ("2026-10", 5)}, {}), T0)[0].remaining == 1_000_000
