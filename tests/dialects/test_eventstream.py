"""What is written as an event stream is what AWS's own SDK reads."""

import json
import struct
from zlib import crc32

from botocore.eventstream import EventStreamBuffer
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
