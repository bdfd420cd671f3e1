"""Server-sent events as OpenAI-compatible servers write them: the data of each is one line, comments stand between."""

from emulators.http_exchange import ExchangeFailed

LINE_BYTES = 1_048_576
"""Far above any chunk."""


class Reader:
    """Reads one stream. The same bytes give the same data, however they were cut."""

    def __init__(self) -> None:
        self._open_line = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the lines that these bytes complete. Raises ExchangeFailed where one is too long."""
        *lines, self._open_line = (self._open_line + piece).split(b"\n")
        if max(map(len, (*lines, self._open_line))) > LINE_BYTES:
            raise ExchangeFailed(f"a line of the stream is longer than {LINE_BYTES} bytes")
        return [line.removeprefix(b"data:").strip() for line in lines if line.startswith(b"data:")]
