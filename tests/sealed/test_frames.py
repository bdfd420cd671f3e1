"""Frames arrive as they were sent, however they are cut; a liar is found out at the fourth byte."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealed import frames
from sealed.refusal import FrameRefused

FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=8)


@given(FRAMES, st.lists(st.integers(1, 40), max_size=60))
def test_frames_arrive_in_order_however_they_are_cut(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    wire = b"".join(frames.frame(kind, payload) for kind, payload in sent)
    reader = frames.Reader()
    got: list[tuple[int, bytes]] = []
    for cut in cuts:
        got += reader.feed(wire[:cut])
        wire = wire[cut:]
    got += reader.feed(wire)
    assert got == sent
    assert not reader.pending


def test_part_of_a_frame_is_pending() -> None:
    wire = frames.frame(7, b"payload")
    for end in range(1, len(wire)):
        reader = frames.Reader()
        assert list(reader.feed(wire[:end])) == []
        assert reader.pending


@pytest.mark.parametrize("length", [0, frames.MOST_BYTES + 1, 2**32 - 1])
def test_a_bad_length_is_refused_before_anything_of_that_length_arrives(length: int) -> None:
    reader = frames.Reader()
    with pytest.raises(FrameRefused):
        list(reader.feed(struct.pack(">I", length)))


def test_the_frames_ahead_of_a_bad_one_are_not_lost() -> None:
    got: list[tuple[int, bytes]] = []
    with pytest.raises(FrameRefused):
        for frame in frames.Reader().feed(frames.frame(1, b"good") + bytes(4)):
            got.append(frame)
    assert got == [(1, b"good")]


def test_a_refused_stream_stays_refused() -> None:
    reader = frames.Reader()
    for more in (bytes(4), frames.frame(1, b"good")):
        with pytest.raises(FrameRefused):
            list(reader.feed(more))


def test_frames_asked_for_later_are_still_there() -> None:
    reader = frames.Reader()
    reader.feed(frames.frame(1, b"first"))
    assert list(reader.feed(frames.frame(2, b"second"))) == [(1, b"first"), (2, b"second")]


def test_the_longest_frame_passes_and_a_longer_one_is_not_made() -> None:
    longest = bytes(frames.MOST_BYTES - 1)
    assert list(frames.Reader().feed(frames.frame(1, longest))) == [(1, longest)]
    with pytest.raises(FrameRefused):
        frames.frame(1, longest + b"x")
