"""The two kinds of Stream that engines over HTTP give."""

from collections.abc import Iterator
from typing import Protocol

from chalicelib.call import Event


class Body(Protocol):
    """The bytes of an answer: read by one thread, closed by any."""

    def next(self) -> bytes:
        """What has arrived, waiting for something; empty at the end. Raises EngineFailed, EngineTimedOut."""

    def finish(self) -> None:
        """The answer is complete, the body perhaps not: read its end, so that the connection can be used again."""

    def close(self) -> None:
        """Keep the connection if the body was read to its end, else cut it. Idempotent."""


class Translator(Protocol):
    """One streamed answer, from its bytes to our events."""

    done: bool  # `Finished` was told; what follows is of no interest

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that these bytes complete. Raises: Refusal, as the target says; EngineFailed for garbage."""

    def end(self) -> Iterator[Event]:
        """The stream is over before `Finished` was told: the last events. Raises EngineFailed if it is not complete."""


class StreamedAnswer:
    """A Stream whose events are read from the wire as they come."""

    def __init__(self, answer: Body, translator: Translator) -> None:
        self._answer = answer
        self._translator = translator

    def __iter__(self) -> Iterator[Event]:
        translator = self._translator
        while not translator.done:
            data = self._answer.next()
            yield from translator.feed(data) if data else translator.end()
        self._answer.finish()

    def close(self) -> None:
        """See Stream.close."""
        if self._translator.done:
            self._answer.finish()
        else:
            self._answer.close()


class BufferedAnswer:
    """A Stream that was already read to its end."""

    def __init__(self, events: tuple[Event, ...]) -> None:
        self._events = events

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def close(self) -> None:
        """See Stream.close; there is nothing left to stop."""
