"""What is written as an event stream is what AWS's own SDK reads; and what it reads, we read."""

import json
import struct
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.dialects import eventstream
from tests.engines import frames

KINDS = st.from_regex(r"[a-zA-Z]{1,40}", fullmatch=True)


@given(st.lists(st.tuples(KINDS, st.binary(max_size=300))), st.integers(1, 400))
def test_botocore_reads_each_event_whichever_pieces_it_comes_in(told: list[tuple[str, bytes]], size: int) -> None:
    wire = b"".join(eventstream.event(kind, payload) for kind, payload in told)
    buffer = EventStreamBuffer()
    found = []
    for at in range(0, len(wire), size):
        buffer.add_data(wire[at : at + size])
        found += list(buffer)
    assert [(each.headers[":event-type"], each.payload) for each in found] == told
    assert all(each.headers[":message-type"] == "event" for each in found)


def test_an_event_and_an_exception_are_those_of_the_formats_description() -> None:
    payload = json.dumps({"text": "hi", "p": "abcd"}).encode()
    assert eventstream.event("contentBlockDelta", payload) == frames.told("contentBlockDelta", text="hi")
    assert eventstream.exception("throttlingException", b'{"message": "wait"}') == frames.exception(
        "throttlingException", message="wait"
    )


def test_every_frame_carries_its_lengths_and_both_checksums() -> None:
    frame = eventstream.event("chunk", b"{}")
    total, headers, prelude_crc = struct.unpack(">III", frame[:12])
    assert (total, prelude_crc) == (len(frame), crc32(frame[:8]))
    assert frame[12 + headers : -4] == b"{}"
    assert struct.unpack(">I", frame[-4:]) == (crc32(frame[:-4]),)


NAMES = st.text("abcdefghij:-", min_size=1, max_size=30)
VALUES = st.one_of(
    st.tuples(st.just(7), st.text(max_size=40).map(lambda text: struct.pack("!H", len(text.encode())) + text.encode())),
    st.tuples(st.just(6), st.binary(max_size=40).map(lambda value: struct.pack("!H", len(value)) + value)),
    st.tuples(st.sampled_from([0, 1]), st.just(b"")),
    st.tuples(st.just(2), st.binary(min_size=1, max_size=1)),
    st.tuples(st.just(3), st.binary(min_size=2, max_size=2)),
    st.tuples(st.just(4), st.binary(min_size=4, max_size=4)),
    st.tuples(st.sampled_from([5, 8]), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just(9), st.binary(min_size=16, max_size=16)),
)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=5)


def written(headers: dict[str, tuple[int, bytes]]) -> bytes:
    return b"".join(
        bytes([len(name)]) + name.encode() + bytes([kind]) + value for name, (kind, value) in headers.items()
    )


def ours(pieces: list[bytes]) -> tuple[list[tuple[dict[str, str], bytes]], bool]:
    """What we read, and whether it ended in garbage."""
    found: list[tuple[dict[str, str], bytes]] = []
    unframing = eventstream.Unframing()
    try:
        for piece in pieces:
            for frame in unframing.feed(piece):
                found.append((dict(frame.headers), frame.payload))
    except eventstream.NotFramed:
        return found, True
    return found, False


def botocores(pieces: list[bytes]) -> tuple[list[tuple[dict[str, str], bytes]], bool]:
    found: list[tuple[dict[str, str], bytes]] = []
    buffer = EventStreamBuffer()
    try:
        for piece in pieces:
            buffer.add_data(piece)
            for each in buffer:
                texts = {name: value for name, value in each.headers.items() if isinstance(value, str)}
                found.append((texts, each.payload))
    except ParserError:
        return found, True
    return found, False


@given(
    frames_=st.lists(st.tuples(HEADERS, st.binary(max_size=200)), max_size=5),
    size=st.integers(1, 300),
    spoilt=st.none() | st.tuples(st.integers(0, 10_000), st.integers(1, 255)),
)
def test_we_read_what_botocore_reads_and_nothing_else(
    frames_: list[tuple[dict[str, tuple[int, bytes]], bytes]], size: int, spoilt: tuple[int, int] | None
) -> None:
    wire = bytearray(b"".join(frames.frame(payload, written(headers)) for headers, payload in frames_))
    if spoilt and wire:
        wire[spoilt[0] % len(wire)] ^= spoilt[1]
    pieces = [bytes(wire[at : at + size]) for at in range(0, len(wire), size)]
    assert ours(pieces) == botocores(pieces)


@pytest.mark.parametrize(
    "headers",
    [
        b"\x01",
        b"\x05ab",
        b"\x01a\x0a",
        b"\x01a\x07\x00",
        b"\x01a\x07\x00\x05ab",
        b"\x01a\x04\x00",
        b"\x01a\x07\x00\x01\xff",
    ],
)
def test_headers_that_are_none_are_garbage(headers: bytes) -> None:
    assert ours([frames.frame(b"{}", headers)]) == ([], True)


@pytest.mark.parametrize(
    ("total", "headers"),
    [
        (15, 0),
        (16, 1),
        (2**32 - 1, 0),
        (eventstream.PAYLOAD_BYTES + 17, 0),
        (eventstream.HEADERS_BYTES + 17, eventstream.HEADERS_BYTES + 1),
    ],
)
def test_what_would_be_longer_than_anybody_sends_is_not_waited_for(total: int, headers: int) -> None:
    prelude = struct.pack("!II", total, headers)
    assert ours([prelude + struct.pack("!I", crc32(prelude))]) == ([], True)
