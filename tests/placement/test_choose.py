from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.placement.choose import candidates
from chalicelib.pool import Scripted, Target

Admitting = tuple[tuple[Target, ...], frozenset[str]]  # targets, and the names of those whose breaker admits
DRAWS = st.floats(0, 1, exclude_max=True)


@st.composite
def pools(draw: st.DrawFn) -> Admitting:
    weights = draw(st.lists(st.integers(0, 5), max_size=6))
    targets = tuple(Scripted(f"t{index}", weight=weight) for index, weight in enumerate(weights))
    names = [target.name for target in targets]
    return targets, frozenset(draw(st.sets(st.sampled_from(names))) if names else ())


@given(pools(), DRAWS)
def test_all_that_admit_are_tried_once_each_and_no_other(pool: Admitting, draw: float) -> None:
    targets, open_ = pool
    order = candidates(targets, pin=None, admits=lambda target: target.name in open_, draw=draw)
    assert sorted(target.name for target in order) == sorted(open_)


@given(pools(), DRAWS)
def test_behind_the_first_the_order_is_the_list(pool: Admitting, draw: float) -> None:
    targets, open_ = pool
    order = candidates(targets, pin=None, admits=lambda target: target.name in open_, draw=draw)
    assert list(order[1:]) == sorted(order[1:], key=targets.index)


@given(pools(), DRAWS)
def test_a_target_without_weight_is_only_ever_a_fall_back(pool: Admitting, draw: float) -> None:
    targets, open_ = pool
    order = candidates(targets, pin=None, admits=lambda target: target.name in open_, draw=draw)
    if any(target.weight for target in order):
        assert order[0].weight
    else:
        assert list(order) == sorted(order, key=targets.index)


@given(pools(), DRAWS, st.integers(0, 7))
def test_a_pinned_tenant_runs_there_or_nowhere(pool: Admitting, draw: float, which: int) -> None:
    targets, open_ = pool
    pin = f"t{which}"
    order = candidates(targets, pin=pin, admits=lambda target: target.name in open_, draw=draw)
    assert [target.name for target in order] == ([pin] if pin in open_ else [])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any))
def test_first_choices_are_shared_exactly_by_weight(weights: list[int]) -> None:
    targets = [Scripted(f"t{index}", weight=weight) for index, weight in enumerate(weights)]
    total = sum(weights)
    draws = [(step + 0.5) / (total * 8) for step in range(total * 8)]
    firsts = Counter(candidates(targets, pin=None, admits=lambda _: True, draw=draw)[0].name for draw in draws)
    assert firsts == {target.name: target.weight * 8 for target in targets if target.weight}
