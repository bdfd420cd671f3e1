"""One line of JSON for each exchange and each question: what became of it and how large it was, never what it said."""

import sys
from contextlib import suppress
from typing import Any, TextIO

import msgspec


class Entry(msgspec.Struct):
    """One exchange or question, from its ticket to its end."""

    began_ms: int
    bytes_in: int
    use: str = ""
    mode: str = ""
    bytes_out: int = 0
    pieces: int = 0
    outcome: str = ""
    why: str = ""
    duration_ms: int = 0


class Journal:
    """Thread-safe: a line is one write. A line that cannot be written is lost, and fails nobody's request."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream

    def write(self, entry: Entry) -> None:
        self._line(entry)

    def fault(self, error: Exception) -> None:
        """Something that should not be. Its text might quote what was opened, so only its kind is told."""
        self._line({"outcome": "fault", "why": type(error).__name__})

    def _line(self, record: Any) -> None:
        with suppress(OSError):
            self._stream.write(msgspec.json.encode(record).decode() + "\n")
            self._stream.flush()
