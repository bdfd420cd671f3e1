"""Two rule sets that hold at once: whatever one of them forbids is forbidden, and nothing else."""

from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard import PackUse, Rule, Rules, Tools, Topic, compiled, holds_all_of, problems, strictest
from guard.rules import Action, Direction

Way = Literal["in", "out"]

ACTIONS = st.sampled_from(get_args(Action))
DIRECTIONS = st.sampled_from(get_args(Direction))
WAYS: st.SearchStrategy[Way] = st.sampled_from(get_args(Way))
GLOBS = st.lists(st.sampled_from(("*", "a*", "ab", "?b")), max_size=2, unique=True).map(tuple)


@st.composite
def rule_sets(draw: st.DrawFn) -> Rules:
    names = draw(st.lists(st.sampled_from("abc"), max_size=3, unique=True))
    rules = tuple(Rule(name, draw(st.sampled_from("123")), draw(ACTIONS), draw(DIRECTIONS)) for name in names)
    packs = (PackUse("ssn", draw(ACTIONS), draw(DIRECTIONS)),) if draw(st.booleans()) else ()
    topics = (Topic("d", ("falcon",), draw(ACTIONS), draw(DIRECTIONS)),) if draw(st.booleans()) else ()
    longest = draw(st.none() | st.integers(1, 9))
    return Rules(rules, packs, topics, Tools(draw(GLOBS), draw(GLOBS)), max_prompt_bytes=longest)


TEXTS = st.lists(st.sampled_from(("1", "2", "3", " 219-09-9999 ", " falcon ", "-")), max_size=5).map("".join)


@given(rule_sets(), rule_sets(), TEXTS, WAYS)
def test_what_one_of_two_forbids_both_forbid(one: Rules, other: Rules, text: str, way: Way) -> None:
    both = compiled(strictest(one, other)).judge(text, way)
    each = [compiled(rules).judge(text, way) for rules in (one, other)]
    assert (both.refused is not None) == any(outcome.refused is not None for outcome in each)
    if both.refused is None:
        for rules in (one, other):
            again = compiled(rules).judge(both.text, way)
            cut = [find for find in again.findings if _action(rules, find.rule) == "redact"]
            assert cut == [], "what it redacts is gone"
        if both.text != text:
            assert any(outcome.text != text for outcome in each)


def _action(rules: Rules, name: str) -> Action:
    named: list[Rule | PackUse | Topic] = [*rules.rules, *rules.topics]
    named += [each for each in rules.packs if isinstance(each, PackUse)]
    return next(each.action for each in named if each.name == name)


@given(rule_sets(), rule_sets(), st.text("ab", max_size=3))
def test_a_tool_is_allowed_only_where_both_allow_it(one: Rules, other: Rules, tool: str) -> None:
    if compiled(strictest(one, other)).tool_allowed(tool):
        assert compiled(one).tool_allowed(tool)
        assert compiled(other).tool_allowed(tool)


@given(rule_sets(), rule_sets())
def test_the_shorter_of_two_longest_prompts_counts(one: Rules, other: Rules) -> None:
    both = strictest(one, other).max_prompt_bytes
    said = [rules.max_prompt_bytes for rules in (one, other) if rules.max_prompt_bytes is not None]
    assert both == min(said, default=None)


@given(rule_sets(), rule_sets(), TEXTS, WAYS, st.text("ab", max_size=3))
def test_what_holds_all_of_another_forbids_all_that_it_forbids(
    rules: Rules, other: Rules, text: str, way: Way, tool: str
) -> None:
    assert holds_all_of(rules, rules)
    if not holds_all_of(rules, other):
        return
    if compiled(other).judge(text, way).refused is not None:
        assert compiled(rules).judge(text, way).refused is not None
    if compiled(rules).tool_allowed(tool):
        assert compiled(other).tool_allowed(tool)
    assert other.max_prompt_bytes is None or (rules.max_prompt_bytes or 10) <= other.max_prompt_bytes


@pytest.mark.parametrize("kind", ["rules", "packs", "topics"])
def test_of_one_thing_in_both_the_stricter_action_counts_in_each_direction(kind: str) -> None:
    def said(action: Action, direction: Direction) -> Rules:
        return {
            "rules": Rules((Rule("a", "x", action, direction),)),
            "packs": Rules(packs=(PackUse("ssn", action, direction),)),
            "topics": Rules(topics=(Topic("a", ("x",), action, direction),)),
        }[kind]

    both = getattr(strictest(said("refuse", "in"), said("redact", "both")), kind)
    assert [(each.action, each.direction) for each in both] == [("refuse", "in"), ("redact", "out")]
    same = getattr(strictest(said("flag", "both"), said("refuse", "both")), kind)
    assert [(each.action, each.direction) for each in same] == [("refuse", "both")]


def test_two_rules_of_one_name_are_told_apart() -> None:
    both = strictest(Rules((Rule("a", "x", "flag"),)), Rules((Rule("a", "y", "refuse"),)))
    guard = compiled(both)
    assert problems(both) == []
    assert guard.judge("x", "in").refused is None
    assert guard.judge("y", "in").refused == "a-key"
