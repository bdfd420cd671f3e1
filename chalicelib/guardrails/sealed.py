"""A sealed answer, which is judged where it is sealed: here is only seen that something was found."""

from collections.abc import Callable, Iterator

from chalicelib.call import Event, Finished, Source, Stream
from chalicelib.refusal import ContentRefused


class JudgedElsewhere:
    """The Stream of a sealed call."""

    def __init__(self, stream: Stream, *, found: Callable[[], None], refused: Callable[[ContentRefused], None]) -> None:
        """`found`: a rule was met, and the answer came to its end. `refused`: it did not, by a rule."""
        self._stream = stream
        self._found = found
        self._refused = refused

    def __iter__(self) -> Iterator[Event]:
        try:
            for event in self._stream:
                if isinstance(event, Finished) and event.found:
                    self._found()
                yield event
        except ContentRefused as refusal:
            self._refused(refusal)
            raise

    @property
    def source(self) -> Source:
        """See Stream.source."""
        return self._stream.source

    def close(self) -> None:
        """See Stream.close."""
        self._stream.close()
