"""A chunk of an answer says what the one before it said, but for a few letters of text. Pure.

One that equals a chunk that was read, up to the JSON string that is its text, is not read again: all else that it says
is known.
"""

import re

_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))+"')
"""A JSON string that is not empty (RFC 8259, section 7)."""

_LONGEST_BYTES = 4_096
"""Of a chunk: to match a text takes memory for each of its letters."""

_MOST_LEARNT = 8
"""When so many chunks have been learnt, this server's are not alike."""


class SameAgain:
    """Of one answer. Not thread-safe."""

    def __init__(self) -> None:
        self._learnt = 0
        self._before = self._after = b""  # the text, in the chunk that was learnt
        self._told_before = self._told_after = b""  # the same, in what was told for it

    def told(self, data: bytes) -> bytes | None:
        """What is to be told for a chunk that has another text than the one that was learnt, and nothing else; None: it
        has."""
        before, after = self._before, self._after
        if not before or not data.startswith(before) or not data.endswith(after) or len(data) > _LONGEST_BYTES:
            return None
        if _STRING.fullmatch(data, len(before), len(data) - len(after)) is None:
            return None
        if before is self._told_before:
            return data
        return self._told_before + data[len(before) : len(data) - len(after)] + self._told_after

    def learn(self, data: bytes, told: bytes, member: str, text: bytes) -> None:
        """A chunk, and what was told for it. `text`: the JSON of its `member`, and all that may change in it."""
        if self._learnt == _MOST_LEARNT or len(data) > _LONGEST_BYTES or _STRING.fullmatch(text) is None:
            return
        self._learnt += 1
        self._before, self._after = self._told_before, self._told_after = _around(data, member, text)
        if told is not data:
            self._told_before, self._told_after = _around(told, member, text)
            if not self._told_before:
                self._before = b""


def _around(data: bytes, member: str, text: bytes) -> tuple[bytes, bytes]:
    """What stands before and after the text; nothing where it cannot be told which one it is.

    No string holds these bytes, because its quotes would be escaped; but another object could.
    """
    for name in (b'"%b":' % member.encode(), b'"%b": ' % member.encode()):
        if data.count(name + text) == 1:
            before, _, after = data.partition(name + text)
            return before + name, after
    return b"", b""
