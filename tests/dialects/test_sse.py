from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.dialects.sse import Comment, EventTooLarge, Message, Reader

LINES = st.lists(
    st.one_of(
        st.sampled_from([b"", b"", b"", b"data", b"data:", b": beat", b"event: x", b"\xef\xbb\xbfdata: x", b":"]),
        st.binary(max_size=12).map(lambda value: b"data: " + value.replace(b"\r", b"").replace(b"\n", b"")),
        st.binary(max_size=6),
    ),
    max_size=12,
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    lines = draw(LINES)
    return b"".join(line + draw(st.sampled_from([b"\n", b"\r\n", b"\r"])) for line in lines)


def read(pieces: list[bytes], limit: int = 1_000) -> list[Message | Comment | str]:
    reader = Reader(limit)
    seen: list[Message | Comment | str] = []
    try:
        for piece in pieces:
            for item in reader.feed(piece):
                seen.append(item)
    except EventTooLarge:
        seen.append("too large")
    return seen


@given(streams(), st.lists(st.integers(0, 200)), st.sampled_from([5, 20, 1_000]))
def test_the_same_bytes_give_the_same_events_however_they_are_cut(data: bytes, cuts: list[int], limit: int) -> None:
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(edges)]
    at_once = read([data], limit)
    assert read(pieces, limit) == at_once
    assert read([data[at : at + 1] for at in range(len(data))], limit) == at_once


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_standard_is_one(end: bytes) -> None:
    lines = [b": beat", b"event: x", b"data: one", b"data:two", b"", b"data", b"", b""]
    assert read([end.join(lines)]) == [Comment(b"beat"), Message(b"one\ntwo"), Message(b"")]


def test_one_space_behind_the_colon_is_not_data() -> None:
    assert read([b"data:  x \n\n"]) == [Message(b" x ")]


def test_a_byte_order_mark_at_the_start_is_dropped_and_elsewhere_is_not() -> None:
    assert read([b"\xef\xbb\xbfdata: x\n\n\xef\xbb\xbfdata: y\n\n"]) == [Message(b"x")]


def test_an_event_that_the_end_cuts_off_is_dropped() -> None:
    assert read([b"data: x\n\ndata: y\n"]) == [Message(b"x")]


def test_events_before_one_that_is_too_large_are_not_lost() -> None:
    assert read([b"data: x\n\ndata: " + b"y" * 50 + b"\n\n"], limit=40) == [Message(b"x"), "too large"]


def test_an_event_of_many_lines_is_bounded_as_a_whole() -> None:
    assert read([b"data: yyyy\n" * 20], limit=40) == ["too large"]


def test_a_line_without_an_end_is_bounded() -> None:
    assert read([b"y" * 30, b"y" * 30], limit=40) == ["too large"]
