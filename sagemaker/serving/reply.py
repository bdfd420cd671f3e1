"""Reading what an engine says: a stream by whole events, an answer as a whole, or why it refused."""

import re
from collections.abc import AsyncIterator

import msgspec

from serving.engines import Reply
from serving.refusal import EngineFailed, EngineRefused

DONE = b"data: [DONE]"
EVENT_END = b"\n\n"
MAX_ERROR_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_EVENT_BYTES = 8 * 1024 * 1024
ERROR = b'data: {"error"'  # cannot stand inside an event: quotes in there are escaped
# llama.cpp says 500 or 501 to nearly everything a caller gets wrong: a field, a schema, what the model cannot do. A 5xx
# of ours counts against the instance, and nobody may be able to talk a healthy one out of service.
TOO_HARSH = ("server_error", "not_supported_error")
ENGINES_FAULT = re.compile(r"compute|decode|memory|slot|internal", re.IGNORECASE)
NOTHING = msgspec.Raw(b"null")
EMPTY = (b"null", b'""', b"[]", b"{}")


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Piece(msgspec.Struct, frozen=True):
    """Whole events that came together, in how many a choice says something, and the engine's own count if it came."""

    data: bytes
    tokens: int
    usage: Usage | None
    last: bool


class Delta(msgspec.Struct, frozen=True):
    """Undecoded, because only "something or nothing" matters here."""

    content: msgspec.Raw = NOTHING
    tool_calls: msgspec.Raw = NOTHING
    reasoning_content: msgspec.Raw = NOTHING
    reasoning: msgspec.Raw = NOTHING
    refusal: msgspec.Raw = NOTHING


class Choice(msgspec.Struct, frozen=True):
    delta: Delta | None = None
    text: msgspec.Raw = NOTHING

    @property
    def says_something(self) -> bool:
        members = msgspec.structs.astuple(self.delta) if self.delta else (self.text,)
        return any(bytes(member) not in EMPTY for member in members)


class Chunk(msgspec.Struct, frozen=True):
    choices: tuple[Choice, ...] | None = None
    usage: Usage | None = None


class WholeAnswer(msgspec.Struct, frozen=True):
    usage: Usage | None = None


class ErrorDetail(msgspec.Struct, frozen=True):
    message: str
    type: str = "server_error"
    code: str | int | None = None


class EngineError(msgspec.Struct, frozen=True):
    error: ErrorDetail


_whole = msgspec.json.Decoder(WholeAnswer)
_chunk = msgspec.json.Decoder(Chunk)


async def events(reply: Reply) -> AsyncIterator[Piece]:
    """An engine's stream to its end; what it says after that is left out.

    Raises: EngineRefused, EngineFailed, EngineTimedOut.
    """
    rest = b""
    done = False
    async for piece in reply.pieces():
        if done:
            continue
        # Only whole events go out, so that one that tells of a failure can be held back.
        whole, mark, rest = (rest + piece).rpartition(EVENT_END)
        if len(rest) > MAX_EVENT_BYTES:
            raise EngineFailed("the engine's answer is too large")
        if not mark:
            continue
        if ERROR in whole:
            whole, _, error = whole.partition(ERROR)
            if whole:
                yield _piece(whole, last=False)
            raise _refusal(502, ERROR[6:] + error.partition(b"\n")[0])
        done = whole.endswith(DONE)
        yield _piece(whole + mark, last=done)
    if not done:
        raise EngineFailed("the engine broke off its answer")


async def read_whole(reply: Reply) -> tuple[bytes, Usage]:
    """An engine's whole answer. Raises: EngineRefused, EngineFailed, EngineTimedOut."""
    if reply.status != 200:
        raise await read_refusal(reply)
    body = await _read(reply, MAX_ANSWER_BYTES)
    try:
        return body, _whole.decode(body).usage or Usage()
    except (msgspec.DecodeError, RecursionError):
        raise EngineFailed("the engine's answer is not what it should be") from None


async def read_refusal(reply: Reply) -> EngineRefused:
    """What the engine said instead of an answer. Raises: EngineFailed, when it made no sense."""
    return _refusal(reply.status, await _read(reply, MAX_ERROR_BYTES))


def without_usage(data: bytes) -> bytes:
    """Whole events, less those that only count: for a caller who has not asked for them."""
    kept = []
    for event in data.split(EVENT_END)[:-1]:
        chunk = _read_chunk(event)
        if chunk is None or chunk.usage is None or chunk.choices:
            kept.append(event + EVENT_END)
    return b"".join(kept)


def _piece(data: bytes, *, last: bool) -> Piece:
    chunks = [chunk for line in data.split(b"\n") if (chunk := _read_chunk(line))]
    tokens = sum(choice.says_something for chunk in chunks for choice in chunk.choices or ())
    usage = next((chunk.usage for chunk in reversed(chunks) if chunk.usage), None)
    return Piece(data, tokens, usage, last)


def _read_chunk(event: bytes) -> Chunk | None:
    if not event.startswith(b"data: {"):
        return None
    try:
        return _chunk.decode(event[6:])
    except (msgspec.DecodeError, RecursionError):
        return None


def _refusal(status: int, body: bytes) -> EngineRefused:
    try:
        error = msgspec.json.decode(body, type=EngineError).error
    except (msgspec.DecodeError, RecursionError):
        raise EngineFailed("the engine's answer is not what it should be") from None
    if not 400 <= status < 500:
        status = 400 if error.type in TOO_HARSH and not ENGINES_FAULT.search(error.message) else 502
    return EngineRefused(status, error.message, error.type, error.code if isinstance(error.code, str) else error.type)


async def _read(reply: Reply, limit: int) -> bytes:
    pieces = []
    size = 0
    async for piece in reply.pieces():
        size += len(piece)
        if size > limit:
            raise EngineFailed("the engine's answer is too large")
        pieces.append(piece)
    return b"".join(pieces)
