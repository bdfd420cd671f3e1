"""An answer as its engine tells it, judged on its way: what a rule forbids is not told."""

from collections.abc import Callable, Iterator, Mapping

from chalicelib.call import Call, Delta, Event, Finished, Pause, Source, Stream
from chalicelib.guardrails.refusals import as_refusals, content_refused, judge_complaint
from chalicelib.refusal import ContentRefused, Malformed
from guard.bodies import Judge, NotAllowed, wholes
from guard.bodies.chunks import Chunks

Tell = Callable[[Mapping[str, int]], None]
"""What was found in an answer: by rule, how often. Told once, when it is closed."""

Whole = Callable[[bytes], bytes]
"""Judges a whole answer. Raises NotAllowed, NotUnderstood."""

AT_ONCE = 16_384
"""Bytes of a chunk that are judged where they come, be it a loop: by ordinary rules, that takes a millisecond."""


class Judged:
    """The Stream of a call, judged."""

    def __init__(self, stream: Stream, call: Call, judge: Judge, tell: Tell, whole: Whole | None = None) -> None:
        """`whole`: who judges an answer in one piece, where that is not `judge` by itself."""
        self._stream = stream
        self._tell: Tell | None = tell
        self._judge = judge
        self._whole_judged = whole or (lambda data: wholes.judged(data, judge))
        self._chunks = Chunks(call.operation, judge) if call.stream else None
        self._refused_by = ""  # which rule

    def __iter__(self) -> Iterator[Event]:
        try:
            with as_refusals():
                yield from self._whole() if self._chunks is None else self._judged(self._chunks)
        except Malformed as complaint:
            judge_complaint(complaint, self._judge)
            raise
        except ContentRefused as refused:
            self._refused_by = refused.symptom
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
                findings = self._judge.findings if self._chunks is None else self._chunks.findings()
                if self._refused_by and not findings[self._refused_by]:  # no rule's: a tool, or what took too long
                    findings[self._refused_by] = 1
                tell(findings)

    def _whole(self) -> Iterator[Event]:
        refused: ContentRefused | None = None
        for event in self._stream:
            if isinstance(event, Delta):
                try:
                    event = Delta(self._whole_judged(event.data), event.tokens)
                except NotAllowed as refusal:
                    refused = content_refused(refusal)
                    continue
            elif isinstance(event, Finished):
                if refused is not None:
                    refused.usage = event.usage
                    raise refused
                # Its chunk is judged, too: it counts, but servers put more than that into it.
                event = Finished(event.usage, self._whole_judged(event.data)) if event.data else event
            yield event

    def _judged(self, chunks: Chunks) -> Iterator[Event]:
        tokens = 0  # generated, and not yet told
        try:
            for event in self._stream:
                if isinstance(event, Delta):
                    if len(event.data) > AT_ONCE or self._judge.allowance.strained or self._judge.waits:
                        yield Pause.LENGTHY
                    tokens = event.tokens
                    for chunk in chunks.read(event.data):
                        yield Delta(chunk, tokens)
                        tokens = 0
                elif isinstance(event, Finished):
                    if self._judge.waits:
                        yield Pause.LENGTHY
                    for rest in chunks.finish():
                        yield Delta(rest)
                    yield Finished(event.usage, chunks.last(event.data)) if event.data else event
                else:
                    yield event
        except NotAllowed as refused:
            for chunk in refused.ending:
                yield Delta(chunk, tokens)
                tokens = 0
            raise
