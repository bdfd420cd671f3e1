"""Globs of two lists: what is kept of them allows no name that one of the lists does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard import Tools
from guard.globs import common, covers
from guard.tools import Globs

GLOBS = st.lists(st.text("ab*?", min_size=1, max_size=5), min_size=1, max_size=3).map(tuple)
NAMES = st.text("ab", max_size=5)


@given(GLOBS, st.text("ab*?", min_size=1, max_size=5), NAMES)
def test_what_covers_a_glob_allows_all_that_it_allows(globs: tuple[str, ...], other: str, name: str) -> None:
    if covers(globs, other) and Globs(Tools(allowed=(other,))).allow(name):
        assert Globs(Tools(allowed=globs)).allow(name)


@given(GLOBS, NAMES)
def test_a_name_is_covered_by_what_allows_it(globs: tuple[str, ...], name: str) -> None:
    assert covers(globs, name) == Globs(Tools(allowed=globs)).allow(name)


@given(GLOBS, GLOBS, NAMES)
def test_what_is_common_is_allowed_by_both(mine: tuple[str, ...], theirs: tuple[str, ...], name: str) -> None:
    both = common(mine, theirs)
    if both and Globs(Tools(allowed=both)).allow(name):
        assert Globs(Tools(allowed=mine)).allow(name)
        assert Globs(Tools(allowed=theirs)).allow(name)


@pytest.mark.parametrize(
    ("mine", "theirs", "both"),
    [
        (("get_*",), ("get_mail", "put_*"), ("get_mail",)),
        (("*",), ("a?",), ("a?",)),
        (("a*", "b"), ("a*", "c"), ("a*",)),
        (("get_*",), ("*_mail",), ()),
        (("a?",), ("a*",), ("a?",)),
    ],
)
def test_of_two_lists_the_narrower_globs_stay(
    mine: tuple[str, ...], theirs: tuple[str, ...], both: tuple[str, ...]
) -> None:
    assert common(mine, theirs) == common(theirs, mine) == both


def test_no_glob_takes_for_ever() -> None:
    assert not covers(("*a" * 64,), "a" * 63 + "b" * 65)
