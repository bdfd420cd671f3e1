"""A sealed call's answer, sans-IO: frames of our container in, our events out (docs/sealed-formats.md).

The pieces are ciphertext. What stands beside them in the clear is what the gateway must know: how long the
request waits, how many tokens were counted, and how it ended.
"""

from collections.abc import Iterator
from typing import Annotated

import msgspec

from chalicelib.call import Delta, Event, Finished, Started, Usage, Waiting
from chalicelib.dialects import failures
from chalicelib.pool import Target
from chalicelib.refusal import ContentRefused, EngineFailed

MEDIA_TYPE = "application/vnd.cloister.sealed"
FRAME_LIMIT_BYTES = 8 * 2**20
TOLD_LIMIT_BYTES = 64 * 1024  # what an enclave answers to a question
CONSULT_DEADLINE_MS = 15_000

_WAITING, _STARTED, _PIECE, _FINISHED, _REFUSED = 0x11, 0x12, 0x13, 0x14, 0x15

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class _Waiting(msgspec.Struct):
    queue_position: _Count
    predicted_start_ms: _Count


class _Started(msgspec.Struct):
    queue_ms: _Count = 0


class _Finished(msgspec.Struct):
    prompt_tokens: _Count
    completion_tokens: _Count
    found: bool = False


class _Refusal(msgspec.Struct):
    status: int
    code: str = ""
    message: str = ""
    prompt_tokens: _Count | None = None
    completion_tokens: _Count = 0

    @property
    def usage(self) -> Usage | None:
        """Of what a rule refused, where it was counted."""
        return None if self.prompt_tokens is None else Usage(self.prompt_tokens, self.completion_tokens)


class Translator:
    """One sealed answer, from its bytes to our events. Not thread-safe."""

    def __init__(self, target: Target, instance: str, *, buffered: bool = False) -> None:
        """`instance`: who answers, where the response's headers did say so, else the target's own name."""
        self._target = target
        self._instance = instance
        self._buffered = buffered
        self._held = bytearray()
        self.done = False  # `Finished` was told; what follows is of no interest

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that these bytes complete.

        Raises: NotOpened, TooLarge, ContentRefused, NoCapacity, ... as the container refuses; EngineFailed for garbage.
        """
        self._held += data
        while not self.done and len(self._held) >= 5:
            size = int.from_bytes(self._held[:4])
            if not 1 <= size <= FRAME_LIMIT_BYTES:
                raise EngineFailed(failures.NOT_UNDERSTOOD)
            if len(self._held) < 4 + size:
                return
            kind, payload = self._held[4], bytes(self._held[5 : 4 + size])
            del self._held[: 4 + size]
            try:
                event = self._event(kind, payload)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise EngineFailed(failures.NOT_UNDERSTOOD) from None
            if event is not None:
                yield event

    def end(self) -> Iterator[Event]:
        """The stream is over. Raises EngineFailed, because the answer is not."""
        raise EngineFailed(failures.BROKE_OFF)

    def _event(self, kind: int, payload: bytes) -> Event | None:
        if kind == _PIECE and len(payload) >= 2:
            return Delta(payload[2:], int.from_bytes(payload[:2]))
        if kind == _WAITING:
            if self._buffered:
                return None  # that wait is over by the time it is read
            place = msgspec.json.decode(payload, type=_Waiting)
            return Waiting(place.queue_position, place.predicted_start_ms, self._instance)
        if kind == _STARTED:
            return Started(self._instance, msgspec.json.decode(payload, type=_Started).queue_ms, self._buffered)
        if kind == _FINISHED:
            self.done = True
            counted = msgspec.json.decode(payload, type=_Finished)
            return Finished(Usage(counted.prompt_tokens, counted.completion_tokens), found=counted.found)
        if kind == _REFUSED:
            said = msgspec.json.decode(payload, type=_Refusal)
            refusal = failures.of_sealed(said.status, said.code, said.message, self._target)
            if isinstance(refusal, ContentRefused):
                refusal.usage = said.usage
            raise refusal
        raise EngineFailed(failures.NOT_UNDERSTOOD)
