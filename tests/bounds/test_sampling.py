"""What an engine keeps room for, or walks through for each token of an answer."""

import json
from typing import Any

import msgspec
import pytest

from bounds import Exceeded, must_hold, sampling


def fields(**members: Any) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()}


@pytest.mark.parametrize("name", sampling.NUMBERS)
def test_a_number_is_bounded_on_both_sides(name: str) -> None:
    most = sampling.NUMBERS[name]
    for within in (0, 1, -1, most, float(most), True, None, "all"):
        must_hold(fields(**{name: within}))
    for over in (most + 1, -most - 1, most + 1.0, 2 * 10**9, 2 * 10**9 - 2**32, 2**80, 1e300):
        with pytest.raises(Exceeded, match=name) as caught:
            must_hold(fields(**{name: over}))
        assert caught.value.member == name


@pytest.mark.parametrize("name", sampling.LENGTHS)
def test_a_list_is_bounded_however_short_it_is_written(name: str) -> None:
    most = sampling.LENGTHS[name]
    for within in ([], ["a"] * most, None, {"7": 1}, "a"):
        must_hold(fields(**{name: within}))
    with pytest.raises(Exceeded, match=name) as caught:
        must_hold(fields(**{name: [""] * (most + 1)}))
    assert caught.value.member == name


def test_a_text_is_one_stop_and_as_many_samplers_as_it_has_letters() -> None:
    must_hold(fields(stop="a" * 5_000, samplers="k" * 64))
    with pytest.raises(Exceeded, match="samplers"):
        must_hold(fields(samplers="k" * 65))
