"""An answer is given only if the rules that judged it, as the enclave says, are those that its caller expects."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister import NotConfigured, OtherRules
from cloister.judging import expected, stream, whole

OURS, OTHERS = "ab" * 32, "cd" * 32
EVENTS = b'data: {"id":"c"}\n\ndata: [DONE]\n\n'


def streamed(rules: str) -> bytes:
    return b": rules_sha256=" + rules.encode() + b"\n\n" + EVENTS if rules else EVENTS


def answered(rules: str) -> bytes:
    return json.dumps({"id": "c", **({"rules_sha256": rules} if rules else {})}).encode()


FORMS: list[tuple[Callable[[Iterator[bytes], str], Iterator[bytes]], Callable[[str], bytes]]] = [
    (stream, streamed),
    (whole, answered),
]


@given(
    st.sampled_from(FORMS),
    st.sampled_from([OURS, OTHERS, ""]),
    st.sampled_from([OURS, ""]),
    st.lists(st.integers(0, 120)),
)
def test_however_it_is_cut_nothing_comes_of_what_other_rules_judged(
    form: tuple[Callable[[Iterator[bytes], str], Iterator[bytes]], Callable[[str], bytes]],
    judged_by: str,
    wanted: str,
    at: list[int],
) -> None:
    look, write = form
    answer = write(judged_by)
    cuts = sorted({0, len(answer), *(place for place in at if place < len(answer))})
    pieces = (answer[begin:end] for begin, end in pairwise(cuts))
    if judged_by == wanted:
        assert b"".join(look(pieces, wanted)) == answer
    else:
        with pytest.raises(OtherRules):
            next(look(pieces, wanted))


@pytest.mark.parametrize("answer", [b"", b"no JSON", b"[]", b'{"rules_sha256":1}', b"\xff"])
def test_what_says_nothing_of_rules_was_judged_by_none_that_is_expected(answer: bytes) -> None:
    for look in (stream, whole):
        with pytest.raises(OtherRules):
            next(look(iter([answer]), OURS))


def test_what_is_expected_is_a_hash_or_nothing() -> None:
    assert [expected(each) for each in (None, "", OURS)] == [None, "", OURS]
    for each in ("ab", OURS.upper(), OURS + "0"):
        with pytest.raises(NotConfigured, match="python -m guard"):
            expected(each)
