"""What is padded has a length that tells little, and says the same to every reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.dialects import sse
from sealed.padding import padded

EVENTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40), max_size=4).map(
    lambda datas: b"".join(f"data: {data}\n\n".encode() for data in datas)
)


@given(EVENTS, st.sampled_from([256, 1024]))
def test_the_length_becomes_the_next_multiple(piece: bytes, multiple: int) -> None:
    result = padded(piece, multiple)
    assert result.startswith(piece)
    assert len(result) % multiple == 0
    assert len(result) - len(piece) < multiple


@pytest.mark.parametrize("missing", [0, 1, 2, 3, 255])
def test_every_amount_of_padding_is_skipped_by_a_reader(missing: int) -> None:
    piece = b"data: " + b"x" * (512 - missing - 8) + b"\n\n"
    stream = padded(piece, 256) + padded(b"data: [DONE]\n\n", 256)
    messages = [event.data for event in sse.Reader().feed(stream) if isinstance(event, sse.Message)]
    assert messages == [piece[6:-2], b"[DONE]"]


def test_nothing_stays_nothing() -> None:
    assert padded(b"", 256) == b""


@pytest.mark.parametrize("piece", [b"data: half", b"data: a line\n"])
def test_half_an_event_is_not_padded(piece: bytes) -> None:
    with pytest.raises(ValueError, match="whole events"):
        padded(piece, 256)
