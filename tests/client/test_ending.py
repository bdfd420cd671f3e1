"""The last event of a stream waits until the answer is known to be whole; nothing else waits."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister import BrokenOff
from cloister.ending import proved_to_its_end

SAID = b'data: {"content":"data: [DONE]"}\n\n'
STREAM = SAID + b"data: {}\n\n" + b"data: [DONE]\n\n" + b":      \n"
LAST = STREAM.index(b"data: [DONE]\n")


def cut(at: list[int]) -> list[bytes]:
    edges = sorted({0, len(STREAM), *at})
    return [STREAM[begin:end] for begin, end in pairwise(edges)]


def broken(pieces: list[bytes]) -> Iterator[bytes]:
    yield from pieces
    raise BrokenOff


@given(st.lists(st.integers(0, len(STREAM))))
def test_all_of_a_whole_answer_arrives_however_it_was_cut(at: list[int]) -> None:
    assert b"".join(proved_to_its_end(iter(cut(at)))) == STREAM


@given(st.lists(st.integers(0, len(STREAM))))
def test_no_last_event_arrives_of_an_answer_that_breaks_off_behind_it(at: list[int]) -> None:
    given_out = b""
    with pytest.raises(BrokenOff):
        for piece in proved_to_its_end(broken(cut(at))):
            given_out += piece
    assert b"\ndata: [DONE]" not in given_out
    assert given_out.startswith(SAID)


def test_every_piece_before_it_is_given_at_once() -> None:
    pieces = proved_to_its_end(iter(cut([len(SAID), LAST])))
    assert next(pieces) == SAID
    assert next(pieces) == STREAM[len(SAID) : LAST]
