"""How much a body may hold: by count, whatever its texts are made of."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bounds import Exceeded, counts, must_hold

SAID = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def fields(**members: Any) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()}


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def members(number: int) -> dict[str, int]:
    return {f"m{index}": index for index in range(number)}


@pytest.mark.parametrize(
    ("most", "one_more", "member", "said"),
    [
        (members(counts.MEMBERS), members(counts.MEMBERS + 1), "", "2,049 members"),
        ({"x": [members(counts.MEMBERS)] * 3}, {"x": [members(counts.MEMBERS + 1)]}, "x", "more members than 2,048"),
        ({"x": nested(counts.DEPTH)}, {"x": nested(counts.DEPTH + 1)}, "x", "more deeply than 128"),
        ({"messages": [SAID] * counts.MESSAGES}, {"messages": [SAID] * (counts.MESSAGES + 1)}, "messages", "5,001"),
        ({"input": [SAID] * counts.MESSAGES}, {"input": [SAID] * (counts.MESSAGES + 1)}, "input", "5,001 entries"),
        ({"input": ["a"] * counts.MESSAGES}, {"input": ["a"] * (counts.MESSAGES + 1)}, "input", "5,001 entries"),
        ({"prompt": [[1]] * counts.MESSAGES}, {"prompt": [[1]] * (counts.MESSAGES + 1)}, "prompt", "5,001 entries"),
        ({"tools": [TOOL] * counts.TOOLS}, {"tools": [TOOL] * (counts.TOOLS + 1)}, "tools", "513 entries"),
        ({"input": [1] * 399_000}, {"input": [1] * 401_000}, "input", "more values than 400,000"),
        ({"a": [1] * 199_000, "b": [1] * 199_000}, {"a": [1] * 199_000, "b": [1] * 202_000}, "b", "than 400,000"),
    ],
    ids=[
        "members",
        "inner members",
        "depth",
        "messages",
        "input",
        "texts",
        "prompts",
        "tools",
        "values",
        "values of all members",
    ],
)
def test_a_bound_is_held_and_what_is_over_it_is_told(most: Any, one_more: Any, member: str, said: str) -> None:
    must_hold(fields(**most))
    with pytest.raises(Exceeded) as caught:
        must_hold(fields(**one_more))
    assert caught.value.member == member
    assert said in caught.value.text


@given(st.text('{}[],:"\\ a', max_size=60))
def test_what_stands_in_a_text_counts_for_nothing(text: str) -> None:
    must_hold(fields(x=text * 200, messages=[{"role": "user", "content": text * 200}] * 3))


@given(st.text('{}[],:"\\ a', max_size=60), st.integers(counts.DEPTH - 2, counts.DEPTH + 2))
def test_a_text_hides_nothing(text: str, depth: int) -> None:
    value = [text * 100, nested(depth - 1)]
    if depth <= counts.DEPTH:
        must_hold(fields(x=value))
    else:
        with pytest.raises(Exceeded):
            must_hold(fields(x=value))
