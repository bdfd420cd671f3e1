"""OpenAI's wire format, sans-IO: a call as a server is asked it; the bytes of an answer in, our events out.

The answer's bytes are never re-encoded; only the few members that we must know are decoded, and the model's name is
spliced where it is another than the caller's.

`Started` is told together with the first chunk, not when the target says `: started`: until then nothing of
the answer exists, and a target that dies in between can still be replaced by another.
"""

import contextlib
from collections.abc import Iterator
from typing import Annotated

import msgspec

from chalicelib.call import Call, Delta, Event, Finished, Started, Usage, Waiting
from chalicelib.dialects import ceilings, failures, sse
from chalicelib.dialects.model_name import MISSING, ModelName
from chalicelib.dialects.same_again import SameAgain
from chalicelib.pool import Target
from chalicelib.refusal import EngineFailed

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
_NOTHING = msgspec.Raw(b"null")
_EMPTY = (b"null", b'""', b"[]", b"{}")
_BYTES_PER_TOKEN = 4  # of an answer, where its server did not count


class _Usage(msgspec.Struct):
    """Some servers write counts that they do not have as null, as 0, or not at all."""

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    total_tokens: _Count | None = None
    prompt_tokens_details: msgspec.Raw = _NOTHING
    prompt_cache_hit_tokens: msgspec.Raw = _NOTHING  # DeepSeek


class _Details(msgspec.Struct):
    cached_tokens: _Count


class _Piece(msgspec.Struct):
    """What one choice gained: undecoded, because only "something or nothing" matters here."""

    content: msgspec.Raw = _NOTHING
    tool_calls: msgspec.Raw = _NOTHING
    reasoning_content: msgspec.Raw = _NOTHING
    reasoning: msgspec.Raw = _NOTHING
    refusal: msgspec.Raw = _NOTHING


class _Choice(msgspec.Struct):
    delta: _Piece | None = None
    text: msgspec.Raw = _NOTHING
    index: int | None = None
    finish_reason: msgspec.Raw = _NOTHING


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: msgspec.Raw = _NOTHING
    object: str | None = None
    model: msgspec.Raw = MISSING


class _Whole(msgspec.Struct):
    """A choice of a whole answer."""

    message: _Piece | None = None
    text: msgspec.Raw = _NOTHING


class _Body(msgspec.Struct):
    usage: _Usage | None = None
    choices: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING
    object: str | None = None
    model: msgspec.Raw = MISSING


_chunk = msgspec.json.Decoder(_Chunk)
_body = msgspec.json.Decoder(_Body)
_wholes = msgspec.json.Decoder(list[_Whole] | None)


def request(call: Call, model: str) -> bytes:
    """The body for a target that knows the model as `model`, with the reserved ceiling in force."""
    if call.sealed:
        return call.sealed
    body: dict[str, object] = {**call.fields, "model": model}
    if call.ceiling_tokens:
        ceilings.bound_chat(body, call.ceiling_tokens)
    if call.stream:
        body["stream"] = True
        # The ledger needs the count even when the caller did not ask for it.
        body["stream_options"] = {"include_usage": True}
    else:
        body.pop("stream", None)
        body.pop("stream_options", None)
    return msgspec.json.encode(body)


class Translator:
    """One streamed answer, from its bytes to our events. Not thread-safe."""

    def __init__(
        self, target: Target, instance: str, *, model: str = "", choices: int = 1, buffered: bool = False
    ) -> None:
        """`instance`: who answers, where the response's headers did say so, else the target's own name.

        `model`: what the caller calls it; empty: whatever the target says. `choices`: how many answers there are to be.
        """
        self._model = ModelName(model)
        self._target = target
        self._instance = instance
        self._choices = choices
        self._finished: set[int] = set()  # choices of which we know why they ended
        self._buffered = buffered
        self._sse = sse.Reader()
        self._again = SameAgain()
        self._queue_ms = 0
        self._started = False
        self._usage: _Usage | None = None
        self._tokens = 0  # as many as were seen
        self._usage_chunk = b""  # held back: it belongs to `Finished`
        self.done = False  # `Finished` was told; what follows is of no interest

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that these bytes complete.

        Raises: EngineFailed, NoCapacity, Malformed, ... as the target's error event says; EngineFailed for garbage.
        """
        try:
            for item in self._sse.feed(data):
                if self.done:
                    return
                if isinstance(item, sse.Message):
                    again = self._again.told(item.data)
                    if again is None or self._usage_chunk:
                        yield from self._message(item.data)
                    else:
                        self._tokens += 1
                        yield Delta(again, 1)
                elif not self._started:
                    waiting = self._comment(item)
                    if waiting:
                        yield waiting
        except sse.EventTooLarge:
            raise EngineFailed(failures.TOO_LONG) from None

    def end(self) -> Iterator[Event]:
        """The stream is over. Raises EngineFailed if the answer is not.

        Not every server says `[DONE]`: an answer is complete as well where each of its choices has told why it ended.
        """
        if len(self._finished) < self._choices:
            raise EngineFailed(failures.BROKE_OFF)
        return self._complete()

    def _complete(self) -> Iterator[Event]:
        self.done = True
        yield Finished(_usage(self._usage, self._tokens), self._usage_chunk)

    def _message(self, data: bytes) -> Iterator[Event]:
        if data == b"[DONE]":
            if not self._started:
                # An answer without a single chunk is no answer; another target may do better.
                raise EngineFailed(failures.BROKE_OFF)
            yield from self._complete()
            return
        try:
            chunk = _chunk.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineFailed(failures.NOT_UNDERSTOOD) from None
        if chunk.object == "error" or bytes(chunk.error) != b"null":
            raise failures.in_stream(data, self._target)
        if b"\n" in data:
            # JSON has line ends between its tokens only, and the caller's own framing must survive them.
            data = data.replace(b"\n", b" ")
        read, data = data, self._model.put(data, chunk.model)
        if not self._started:
            self._started = True
            yield Started(self._instance, self._queue_ms, self._buffered)
        if self._usage_chunk:
            yield Delta(self._usage_chunk)  # it was not the last one after all
            self._usage_chunk = b""
        if chunk.usage is not None:
            if chunk.usage.prompt_tokens:
                self._usage = chunk.usage  # some servers count in every chunk: the last one is right
            if not chunk.choices:
                self._usage_chunk = data
                return
        elif chunk.choices is not None and len(chunk.choices) == 1:
            self._again.learn(read, data, *_text(chunk.choices[0]))
        tokens = 0
        for choice in chunk.choices or ():
            tokens += _carries(choice)
            if bytes(choice.finish_reason) not in _EMPTY:
                self._finished.add(choice.index or 0)
        self._tokens += tokens
        yield Delta(data, tokens)

    def _comment(self, comment: sse.Comment) -> Waiting | None:
        facts = _facts(comment.text)
        if "queue_position" in facts:
            if self._buffered:
                return None  # that wait is over by the time it is read
            return Waiting(facts["queue_position"], facts.get("predicted_start_ms", 0), self._instance)
        self._queue_ms = facts.get("queue_ms", self._queue_ms)
        return None


def buffered(body: bytes, target: Target, model: str = "") -> tuple[Delta, Finished]:
    """A whole answer; `model` as for Translator.

    Raises EngineFailed if it is not a JSON object, or what its error object says.
    """
    try:
        answer = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EngineFailed(failures.NOT_UNDERSTOOD) from None
    if answer.object == "error" or bytes(answer.error) != b"null":
        raise failures.in_stream(body, target)
    told = answer.usage is not None and answer.usage.prompt_tokens and answer.usage.completion_tokens
    seen = 0 if told else _seen(bytes(answer.choices))
    usage = _usage(answer.usage, seen)
    whole = ModelName(model).put(body, answer.model)
    return Delta(whole, usage.completion_tokens if usage else seen), Finished(usage)


def _usage(counted: _Usage | None, seen: int) -> Usage | None:
    """None where the server did not count: no prompt has no tokens. An answer's are then those that were seen."""
    if counted is None or not counted.prompt_tokens:
        return None
    prompt, completion = counted.prompt_tokens, counted.completion_tokens
    if completion is None and counted.total_tokens is not None:
        completion = max(0, counted.total_tokens - prompt)
    return Usage(prompt, completion or seen, min(_cached(counted), prompt))


def _seen(choices: bytes) -> int:
    """How many tokens the choices of a whole answer may be."""
    try:
        wholes = _wholes.decode(choices) or ()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0
    return sum(-(-_size(whole) // _BYTES_PER_TOKEN) for whole in wholes)


def _size(whole: _Whole) -> int:
    piece = whole.message or _Piece(content=whole.text)
    return sum(len(raw) for raw in msgspec.structs.astuple(piece) if bytes(raw) not in _EMPTY)


def _cached(counted: _Usage) -> int:
    """What the server had read before, in either way of saying it; what is no count is none."""
    if counted.prompt_tokens_details is _NOTHING and counted.prompt_cache_hit_tokens is _NOTHING:
        return 0
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(counted.prompt_tokens_details, type=_Details).cached_tokens
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        hit: int = msgspec.json.decode(counted.prompt_cache_hit_tokens, type=_Count)
        return hit
    return 0


def _carries(choice: _Choice) -> bool:
    """Whether this choice gained something: one token, as servers send one per chunk."""
    piece = choice.delta
    if piece is None:
        return bytes(choice.text) not in _EMPTY
    return (
        bytes(piece.content) not in _EMPTY
        or bytes(piece.tool_calls) not in _EMPTY
        or bytes(piece.reasoning_content) not in _EMPTY
        or bytes(piece.reasoning) not in _EMPTY
        or bytes(piece.refusal) not in _EMPTY
    )


def _text(choice: _Choice) -> tuple[str, bytes]:
    """The member that this choice's gain is, and what it says; nothing where that is no text alone."""
    if bytes(choice.finish_reason) not in _EMPTY:
        return "", b""
    if choice.delta is None:
        return "text", bytes(choice.text)
    for name in ("content", "reasoning_content", "reasoning"):
        text = bytes(getattr(choice.delta, name))
        if text not in _EMPTY:
            return name, text
    return "", b""


def _facts(text: bytes) -> dict[str, int]:
    """`queue_position=3 predicted_start_ms=1200` as numbers; anything else in a comment is chatter."""
    facts = {}
    for word in text.split():
        name, _, value = word.partition(b"=")
        if value.isdigit() and len(value) <= 12:
            facts[name.decode("ascii", "replace")] = int(value)
    return facts
