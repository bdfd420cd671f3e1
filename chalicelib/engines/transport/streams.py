"""The two kinds of Stream that engines over HTTP give."""

import math
from collections.abc import Iterator
from typing import Protocol

from chalicelib.call import Event, Pause, Source


class Body(Protocol):
    """The bytes of an answer: read by one thread, closed by any."""

    @property
    def source(self) -> Source:
        """See Stream.source."""

    def next(self) -> bytes | None:
        """What has arrived, waiting for something; empty at the end. None: nothing yet, of a body that is polled.

        Raises: EngineFailed, EngineTimedOut.
        """

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
            if data is None:
                yield Pause.LULL
            else:
                yield from translator.feed(data) if data else translator.end()
        self._answer.finish()

    @property
    def source(self) -> Source:
        """See Stream.source."""
        return self._answer.source

    def close(self) -> None:
        """See Stream.close."""
        if self._translator.done:
            self._answer.finish()
        else:
            self._answer.close()


class Fileless:
    """The Source of a stream whose events are there, or come from this process."""

    polled = False

    def poll(self) -> None:
        """See Source.poll."""
        self.polled = True

    def fileno(self) -> int:
        """See Source.fileno."""
        return -1

    def receive(self) -> None:
        """See Source.receive."""

    def patience_s(self) -> float:
        """See Source.patience_s."""
        return math.inf


class BufferedAnswer:
    """A Stream that was already read to its end."""

    def __init__(self, events: tuple[Event, ...]) -> None:
        self._events = events
        self.source = Fileless()

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def close(self) -> None:
        """See Stream.close; there is nothing left to stop."""
