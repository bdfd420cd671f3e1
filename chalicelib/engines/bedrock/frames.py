"""The event stream around an answer of Bedrock: frames in, what its reader makes of them out. Sans-IO.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html
"""

from collections.abc import Iterator

import msgspec

from chalicelib.call import Event
from chalicelib.dialects.eventstream import Frame, NotFramed, Unframing
from chalicelib.dialects.failures import NOT_UNDERSTOOD
from chalicelib.dialects.reader import Reader
from chalicelib.engines.bedrock import failures
from chalicelib.pool import Target
from chalicelib.refusal import EngineFailed


class _Complaint(msgspec.Struct):
    message: str = ""


class Frames:
    """A Translator of one answer. Not thread-safe."""

    def __init__(self, reader: Reader, target: Target) -> None:
        self._reader = reader
        self._target = target
        self._frames = Unframing()
        self.done = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """See streams.Translator.feed."""
        for event in self._events(data):
            self.done = self._reader.done
            yield event

    def end(self) -> Iterator[Event]:
        """See streams.Translator.end. Whether the answer is complete, its reader says."""
        for event in self._reader.end():
            self.done = self._reader.done
            yield event

    def _events(self, data: bytes) -> Iterator[Event]:
        try:
            for frame in self._frames.feed(data):
                if not self.done:
                    yield from self._read(frame)
        except NotFramed:
            raise EngineFailed(NOT_UNDERSTOOD) from None

    def _read(self, frame: Frame) -> Iterator[Event]:
        if frame.headers.get(":message-type") == "event":
            return self._reader.read(frame.headers.get(":event-type", ""), frame.payload)
        try:
            complaint = msgspec.json.decode(frame.payload, type=_Complaint).message
        except (msgspec.DecodeError, UnicodeDecodeError):
            complaint = ""
        raise failures.in_stream(frame.headers.get(":exception-type", ""), complaint, self._target)
