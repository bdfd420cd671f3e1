"""An answer as its engine tells it, judged on its way: what a rule forbids is not told.

Each chunk goes on at once, with as much of its text as may be sent: what is held back is never longer than the widest
match of a rule.
"""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from chalicelib.call import Call, Delta, Event, Finished, Operation, Pause, Source, Stream
from chalicelib.guardrails import COST, TOO_COSTLY, Judge
from chalicelib.guardrails.growing import Growing, Piece, Stop
from chalicelib.guardrails.wholes import judge_complaint, judged, parsed
from chalicelib.guardrails.wires import Bodies, Chats, Converse, Messages, Wire
from chalicelib.refusal import ContentRefused, Malformed
from guard.scanner import TooCostly

Tell = Callable[[Mapping[str, int]], None]
"""What was found in an answer: by rule, how often. Told once, when it is closed."""

WIRES: dict[Operation, Callable[[Growing], Wire]] = {
    "chat.completions": Chats,
    "completions": Chats,
    "messages": Messages,
    "converse": Converse,
    "invoke": Bodies,
}
"""Of what an engine streams in the caller's own dialect. A Response is always told from a chat."""

AT_ONCE = 16_384
"""Bytes of a chunk that are judged where they come, be it a loop: by ordinary rules, that takes a millisecond."""

UNWRITTEN: tuple[Operation, ...] = ("embeddings", "messages.count_tokens")
"""What is answered by numbers."""


class Judged:
    """The Stream of a call, judged."""

    def __init__(self, stream: Stream, call: Call, judge: Judge, tell: Tell) -> None:
        self._stream = stream
        self._call = call
        self._tell: Tell | None = tell
        self._judge = judge
        self._growing = Growing(judge)  # the texts of an answer in chunks

    def __iter__(self) -> Iterator[Event]:
        try:
            yield from self._chunks() if self._call.stream else self._whole()
        except Malformed as complaint:
            judge_complaint(complaint, self._judge)
            raise

    @property
    def source(self) -> Source:
        """See Stream.source."""
        return self._stream.source

    def close(self) -> None:
        """See Stream.close."""
        tell, self._tell = self._tell, None
        try:
            self._stream.close()
        finally:
            if tell is not None:
                tell(self._growing.findings())

    def _whole(self) -> Iterator[Event]:
        refused: ContentRefused | None = None
        for event in self._stream:
            if isinstance(event, Delta):
                try:
                    event = Delta(judged(event.data, self._judge), event.tokens)
                except ContentRefused as refusal:
                    refused = refusal
                    continue
            elif isinstance(event, Finished) and refused is not None:
                refused.usage = event.usage
                raise refused
            yield self._end(event) if isinstance(event, Finished) else event

    def _end(self, end: Finished) -> Finished:
        """Its chunk is judged, too: it counts, but servers put more than that into it. Raises ContentRefused."""
        return Finished(end.usage, judged(end.data, self._judge)) if end.data else end

    def _chunks(self) -> Iterator[Event]:
        growing = self._growing
        wire = WIRES[self._call.operation](growing)
        tokens = 0  # generated, and not yet told
        try:
            for event in self._stream:
                if isinstance(event, Delta):
                    if len(event.data) > AT_ONCE or self._judge.allowance.strained:
                        yield Pause.ASIDE
                    tokens = event.tokens
                    for chunk in wire.read(parsed(event.data)):
                        yield Delta(msgspec.json.encode(chunk), tokens)
                        tokens = 0
                elif isinstance(event, Finished):
                    for piece in growing.finish_all():
                        yield Delta(msgspec.json.encode(wire.piece(piece)))
                    yield self._end(event)
                else:
                    yield event
        except Stop as stop:
            for chunk in wire.stopped(stop.piece):
                yield Delta(msgspec.json.encode(chunk), tokens)
                tokens = 0
            raise stop.refused from None
        except TooCostly:
            raise ContentRefused(TOO_COSTLY, symptom=COST) from None
        except ContentRefused:
            for chunk in wire.stopped(Piece((0,), (), "")):
                yield Delta(msgspec.json.encode(chunk), tokens)
                tokens = 0
            raise
