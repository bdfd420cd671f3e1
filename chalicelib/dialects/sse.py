"""Server-sent events, sans-IO: bytes in, messages and comments out.

The same bytes give the same events, however they were cut (WHATWG HTML, 9.2.6). Line ends are LF, CRLF or CR;
a leading BOM, field names we have no use for, and an event that the end of the stream cuts off are dropped.
"""

from collections.abc import Iterable, Iterator

import msgspec

BOM = b"\xef\xbb\xbf"
_DATA, _END = b"data: ", b"\n\n"
EVENT_LIMIT_BYTES = 4 * 1024 * 1024  # far above any chunk with logprobs; below what could hurt a 512 MB sandbox


class EventTooLarge(Exception):
    """A line or an event is longer than the reader's bound."""


class Message(msgspec.Struct, frozen=True):
    """The data of one event, its lines joined by LF."""

    data: bytes


class Comment(msgspec.Struct, frozen=True):
    """A line that began with a colon; targets use it for heartbeats and for news of their queue."""

    text: bytes


class Reader:
    """Reads one stream. Not thread-safe."""

    def __init__(self, limit_bytes: int = EVENT_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._open_line: list[bytes] = []  # pieces, joined once: a long line in small pieces stays linear
        self._open_bytes = 0
        self._event: list[bytes] = []
        self._event_bytes = 0
        self._at_start = True
        self._after_cr = False

    def feed(self, data: bytes) -> Iterable[Message | Comment]:
        """What these bytes complete. To be iterated to its end before the next bytes are fed.

        Raises EventTooLarge, after the events ahead of it.
        """
        whole = self._whole(data)
        return self._lines(data) if whole is None else [Message(each) for each in whole]

    def _lines(self, data: bytes) -> Iterator[Message | Comment]:
        """Line by line."""
        if self._after_cr and data:
            # The CR already ended its line; an LF right behind it belongs to it.
            self._after_cr = False
            if data.startswith(b"\n"):
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._open_line:
            self._open_line.append(lines[0])
            lines[0] = b"".join(self._open_line)
            self._open_line.clear()
            self._open_bytes = 0
        for line in lines:
            if len(line) > self._limit:
                raise EventTooLarge
            if self._at_start:
                self._at_start = False
                line = line.removeprefix(BOM)
            if not line:
                if self._event:
                    message = self._event[0] if len(self._event) == 1 else b"\n".join(self._event)
                    self._event.clear()
                    self._event_bytes = 0
                    yield Message(message)
            elif line.startswith(b"data:"):
                value = line[6:] if line.startswith(b"data: ") else line[5:]
                self._event_bytes += len(value) + 1
                if self._event_bytes > self._limit:
                    raise EventTooLarge
                self._event.append(value)
            elif line.startswith(b":"):
                yield Comment(line[1:].strip())
            elif line == b"data":
                self._event.append(b"")
        if rest:
            self._open_line.append(rest)
            self._open_bytes += len(rest)
            if self._open_bytes > self._limit:
                raise EventTooLarge

    def _whole(self, data: bytes) -> list[bytes] | None:
        """The messages where the bytes are nothing but whole events of one line each, as almost always: found at once.

        None: they are to be read line by line.
        """
        if not data.startswith(_DATA) or not data.endswith(_END) or b"\r" in data or len(data) > self._limit:
            return None
        if self._open_line or self._event or self._after_cr:
            return None
        messages = data[len(_DATA) : -len(_END)].split(_END + _DATA)
        if data.count(b"\n") != len(_END) * len(messages):
            return None
        self._at_start = False
        return messages
