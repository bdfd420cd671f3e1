from itertools import pairwise

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.engines.eventstream import BadFrame, Frame, Reader
from tests.engines.frames import frame, part, string

PAYLOADS = st.lists(st.binary(max_size=40), max_size=5)


@given(PAYLOADS, st.lists(st.integers(0, 600)))
def test_the_same_bytes_give_the_same_frames_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(part, payloads))
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    reader = Reader()
    frames = [each for start, end in pairwise(edges) for each in reader.feed(data[start:end])]
    assert [each.payload for each in frames] == payloads
    assert all(each.headers[":event-type"] == "PayloadPart" for each in frames)


@given(PAYLOADS)
def test_it_reads_what_botocore_reads(payloads: list[bytes]) -> None:
    data = b"".join(map(part, payloads))
    theirs = EventStreamBuffer()
    theirs.add_data(data)
    expected = [Frame(each.headers, each.payload) for each in theirs]
    assert list(Reader().feed(data)) == expected


def test_headers_of_every_type_are_stepped_over() -> None:
    odd = b"\x01a\x00\x01b\x01\x01c\x02x\x01d\x03xx\x01e\x04xxxx\x01f\x05xxxxxxxx\x01g\x06\x00\x03xxx\x01h\x08xxxxxxxx"
    odd += b"\x01i\x09" + b"x" * 16
    assert list(Reader().feed(frame(b"p", odd + string("z", "last")))) == [Frame({"z": "last"}, b"p")]


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_damaged_byte_is_noticed(at: int, change: int) -> None:
    data = bytearray(part(b"one") + part(b"two") + part(b"three"))
    data[at % len(data)] ^= change
    with pytest.raises(BadFrame):
        list(Reader().feed(bytes(data)))


@pytest.mark.parametrize("headers", [b"\x05ab", b"\x01a\x07\x00\x09x", b"\x01a\x63", b"\x02\xff\xff\x00", b"\x01"])
def test_headers_that_make_no_sense_are_noticed(headers: bytes) -> None:
    with pytest.raises(BadFrame):
        list(Reader().feed(frame(b"p", headers)))


def test_what_is_no_event_stream_is_noticed_at_once() -> None:
    with pytest.raises(BadFrame):
        list(Reader().feed(b"<html>not found</html>"))
