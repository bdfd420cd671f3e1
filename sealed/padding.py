"""Pads server-sent events, so that the length of what was sealed does not tell the length of a token.

Padding is a comment of the event stream, which every reader skips (WHATWG HTML, 9.2.6): the text stays a valid
stream, and nobody has to take the padding off.
"""


def padded(piece: bytes, multiple: int) -> bytes:
    """`piece`, one or more whole events, with a comment behind it that makes its length a multiple of `multiple`.

    An empty piece stays empty. Raises: ValueError when the piece does not end with an event's blank line: a
    comment there would become part of its data.
    """
    if piece and not piece.endswith(b"\n\n"):
        raise ValueError("Only whole events can be padded: the piece must end with an empty line.")
    missing = -len(piece) % multiple
    if missing == 0:
        return piece
    if missing == 1:
        return piece + b"\n"
    return piece + b":" + b" " * (missing - 2) + b"\n"
