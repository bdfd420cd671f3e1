"""A stream's last event is given only once the whole answer has proved itself: the openai SDK reads no further.

What comes before was proved piece by piece. Only that it is complete is not known until the end.
"""

from collections.abc import Iterator

DONE = b"\ndata: [DONE]"  # at the beginning of a line: what a model says has its line ends escaped


def proved_to_its_end(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, of which those from the last event on wait until `pieces` has ended without raising."""
    before = b"\n"
    held = b""
    for piece in pieces:
        if held:
            held += piece
            continue
        at = (before + piece).find(DONE)
        if at < 0:
            before = (before + piece)[1 - len(DONE) :]
            yield piece
            continue
        begins = max(0, at - len(before))  # it may have begun in an earlier piece, which is given already
        held = piece[begins:]
        if begins:
            yield piece[:begins]
    if held:
        yield held
