"""What a model streams is read the same, however it was cut; and bounded."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.bedrock import sse
from emulators.http_exchange import ExchangeFailed

EVENTS: tuple[dict[str, str], ...] = ({"a": "Grüße"}, {"b": "data: not one\n"}, {})


def _stream(line_end: bytes) -> bytes:
    lines: list[bytes] = []
    for event in EVENTS:
        data = json.dumps(event, ensure_ascii=False).encode()
        lines += [b": still here", b"", b"event: chunk", b"data: " + data, b""]
    return line_end.join([*lines, b"data:[DONE]", b"", b"data: cut off"])


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@given(cuts=st.lists(st.integers(0, 200)))
def test_the_same_bytes_give_the_same_data(line_end: bytes, cuts: list[int]) -> None:
    stream = _stream(line_end)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reader = sse.Reader()
    pieces = [stream[begin:end] for begin, end in pairwise(edges)]
    *events, last = [data for piece in pieces for data in reader.feed(piece)]

    assert tuple(json.loads(data) for data in events) == EVENTS
    assert last == b"[DONE]"


@pytest.mark.parametrize("rest", [b"", b"\n"])
def test_a_line_that_never_ends_is_given_up(rest: bytes) -> None:
    reader = sse.Reader()
    reader.feed(b"x" * sse.LINE_BYTES)
    with pytest.raises(ExchangeFailed):
        reader.feed(b"x" + rest)
