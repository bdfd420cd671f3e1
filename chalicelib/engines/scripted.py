"""An engine that answers from a script: for tests, demonstrations and load without a model.

It keeps the protocol honestly: a gate blocks as a slow model would, and `close` from another thread ends it.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import get_args

import msgspec

from chalicelib.call import Call, Delta, Event, Finished, Operation, Pause, Started, Stream, Usage
from chalicelib.dialects.failures import BROKE_OFF, NO_ENCLAVE
from chalicelib.engines.transport.streams import Fileless
from chalicelib.pool import Capacity, Target
from chalicelib.refusal import EngineFailed, NoCapacity, Refusal

Step = Event | Refusal | threading.Event
"""What a script consists of: an event to give, a refusal to raise, or a gate to wait at until it is set."""


class ScriptedEngine:
    """Engine whose answers `script(target, call)` writes. Thread-safe if the script is."""

    def __init__(
        self,
        script: Callable[[Target, Call], Iterable[Step]],
        probe: Callable[[Target], Capacity | Refusal] = lambda target: Capacity(target.capacity, 0, 0),
        consult: Callable[[Target, bytes], bytes | Refusal] = lambda _target, _question: NoCapacity(NO_ENCLAVE),
        spoken: Collection[Operation] = get_args(Operation),
    ) -> None:
        """A refusal that comes before any event is raised by `open`, as a server that refuses a request would.

        `spoken`: what the script is asked as it is; the rest, as chats.
        """
        self._script = script
        self._probe = probe
        self._consult = consult
        self._spoken = spoken
        self._lock = threading.Lock()
        self._opened = 0
        self._running = 0

    @property
    def opened(self) -> int:
        """Calls so far, refused ones included."""
        return self._opened

    @property
    def running(self) -> int:
        """Streams that were given out and not closed yet: generations that still cost something."""
        return self._running

    def speaks(self, target: Target) -> Collection[Operation]:  # noqa: ARG002
        """See Engine.speaks."""
        return self._spoken

    def open(self, target: Target, call: Call) -> Stream:
        """See Engine.open."""
        with self._lock:
            self._opened += 1
        steps = tuple(self._script(target, call))
        if steps and isinstance(steps[0], Refusal):
            raise steps[0]
        with self._lock:
            self._running += 1
        return _ScriptedStream(steps, self._closed)

    def consult(self, target: Target, question: bytes) -> bytes:
        """See Engine.consult."""
        told = self._consult(target, question)
        if isinstance(told, Refusal):
            raise told
        return told

    def probe(self, target: Target) -> Capacity:
        """See Engine.probe."""
        said = self._probe(target)
        if isinstance(said, Refusal):
            raise said
        return said

    def _closed(self) -> None:
        with self._lock:
            self._running -= 1


class _ScriptedStream:
    def __init__(self, steps: Sequence[Step], on_close: Callable[[], None]) -> None:
        self._steps = steps
        self._on_close = on_close
        self._lock = threading.Lock()
        self._closed = False
        self.source = Fileless()

    def __iter__(self) -> Iterator[Event]:
        finished = False
        for step in self._steps:
            if isinstance(step, threading.Event):
                while self.source.polled and not step.is_set() and not self._closed:
                    yield Pause.LULL
                self._wait(step)
            if self._closed:
                raise EngineFailed(BROKE_OFF)
            if isinstance(step, Refusal):
                raise step
            if not isinstance(step, threading.Event):
                finished = isinstance(step, Finished)
                yield step
        if not finished:
            raise EngineFailed(BROKE_OFF)

    def _wait(self, gate: threading.Event) -> None:
        # Two things may end the wait, and an Event can only be waited for alone.
        while not gate.wait(0.005):
            if self._closed:
                return

    def close(self) -> None:
        """See Stream.close."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._on_close()


def words(text: str, *, model: str = "scripted", instance: str = "scripted-1") -> tuple[Event, ...]:
    """The events of a streamed chat answer that says `text`, one word a token."""
    said = text.split(" ")
    pieces = [said[0], *(f" {word}" for word in said[1:])]
    usage = Usage(prompt_tokens=1, completion_tokens=len(pieces))
    return (
        Started(instance),
        *(Delta(_chunk(model, piece, None), 1) for piece in pieces),
        Delta(_chunk(model, None, "stop")),
        Finished(usage, _usage_chunk(model, usage)),
    )


def whole(text: str, *, model: str = "scripted", instance: str = "scripted-1") -> tuple[Event, ...]:
    """The events of a buffered chat answer that says `text`, one word a token."""
    tokens = len(text.split(" "))
    usage = Usage(prompt_tokens=1, completion_tokens=tokens)
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {**_head(model, "chat.completion"), "choices": [choice], "usage": _counted(usage)}
    return Started(instance), Delta(msgspec.json.encode(body), tokens), Finished(usage)


def _chunk(model: str, content: str | None, finish_reason: str | None) -> bytes:
    delta = {} if content is None else {"role": "assistant", "content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return msgspec.json.encode({**_head(model, "chat.completion.chunk"), "choices": [choice]})


def _usage_chunk(model: str, usage: Usage) -> bytes:
    return msgspec.json.encode({**_head(model, "chat.completion.chunk"), "choices": [], "usage": _counted(usage)})


def _head(model: str, kind: str) -> dict[str, object]:
    return {"id": "chatcmpl-scripted", "object": kind, "created": 0, "model": model}


def _counted(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
