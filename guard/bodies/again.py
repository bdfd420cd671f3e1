"""A chunk that says what the one before it said, but for its text: it is not taken apart again. Sans-IO.

As almost all chunks of an answer do. What was judged beside the text is known, and goes on as it did.
"""

import re

import msgspec

from guard.bodies import texts

_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\.)*"')
_LONGEST_BYTES = 4_096
"""Of a chunk that is learnt."""

_MOST_TRIED = 8
"""When so many chunks have been tried, this server's are not alike."""

_text = msgspec.json.Decoder(str)


class Again:
    """Of one answer. Not thread-safe."""

    def __init__(self) -> None:
        self._tried = 0
        self._before = self._after = b""  # the text, in the chunk that was learnt
        self._told_before = self._told_after = b""  # the same, in what was told for it

    def text(self, data: bytes) -> str | None:
        """The text of a chunk that has another than the one that was learnt, and nothing else; None: it has."""
        before = self._before
        if not before or not data.startswith(before) or not data.endswith(self._after):
            return None
        try:
            return _text.decode(data[len(before) : len(data) - len(self._after)]) or None
        except (msgspec.DecodeError, UnicodeDecodeError):  # it is something else
            return None

    def told(self, text: str) -> bytes:
        """The chunk that was learnt, with that text."""
        return b"%b%b%b" % (self._told_before, msgspec.json.encode(text), self._told_after)

    def forget(self) -> None:
        """Another chunk has come."""
        self._before = b""

    def learn(self, data: bytes, told: bytes, member: str | int, text: str) -> None:
        """A chunk, and what was told for it. `text`: what it said in `member`, and all in it that is not known now."""
        if self._tried == _MOST_TRIED or len(data) > _LONGEST_BYTES or not texts.always_text(member):
            return
        self._tried += 1
        before, said, after = _around(data, str(member))
        told_before, _, told_after = _around(told, str(member))
        if said and told_before and _text.decode(said) == text:
            self._before, self._after = before, after
            self._told_before, self._told_after = told_before, told_after


def _around(data: bytes, member: str) -> tuple[bytes, bytes, bytes]:
    """What stands before a member's text, that, and what stands after it; nothing where two members are called so.

    No string holds these bytes, because its quotes would be escaped.
    """
    name = b'"%b":' % member.encode()
    if data.count(name) != 1:
        return b"", b"", b""
    place = data.index(name) + len(name)
    if data[place : place + 1] == b" ":
        place += 1
    said = _STRING.match(data, place)
    return (data[:place], said[0], data[said.end() :]) if said else (b"", b"", b"")
