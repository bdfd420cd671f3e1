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
USAGE = re.compile(rb'"usage":\s*(\{)')


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class Piece(msgspec.Struct, frozen=True):
    """Whole events that came together, how many they are, and the engine's own count where it is among them."""

    data: bytes
    tokens: int
    usage: Usage | None
    last: bool


class Counted(msgspec.Struct, frozen=True):
    choices: tuple[msgspec.Raw, ...] = ()
    usage: Usage | None = None


class Reported(msgspec.Struct, frozen=True):
    message: str
    type: str = "server_error"
    code: str | int | None = None


class EngineError(msgspec.Struct, frozen=True):
    error: Reported


_counted = msgspec.json.Decoder(Counted)


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
        raise await refused(reply)
    body = await _read(reply, MAX_ANSWER_BYTES)
    try:
        return body, _counted.decode(body).usage or Usage()
    except (msgspec.DecodeError, RecursionError):
        raise EngineFailed("the engine's answer is not what it should be") from None


async def refused(reply: Reply) -> EngineRefused:
    """What the engine said instead of an answer. Raises: EngineFailed, when it made no sense."""
    return _refusal(reply.status, await _read(reply, MAX_ERROR_BYTES))


def without_usage(data: bytes) -> bytes:
    """Whole events, less those that only count: for a caller who has not asked for them."""
    return b"".join(event + EVENT_END for event in data.split(EVENT_END)[:-1] if not _only_counts(event))


def _piece(data: bytes, *, last: bool) -> Piece:
    tokens = data.startswith(b"data: {") + data.count(b"\n\ndata: {")
    return Piece(data, tokens, _usage(data) if b'"usage":' in data else None, last)


def _usage(data: bytes) -> Usage | None:
    """The engine's own count, if this really is its usage event and not a word in an answer."""
    last = None
    for line in data.split(b"\n"):
        if line.startswith(b"data: {") and USAGE.search(line):
            try:
                last = _counted.decode(line[6:]).usage or last
            except msgspec.DecodeError:
                continue
    return last


def _only_counts(event: bytes) -> bool:
    if b'"usage":' not in event or not event.startswith(b"data: {"):
        return False
    try:
        said = _counted.decode(event[6:])
    except msgspec.DecodeError:
        return False
    return said.usage is not None and not said.choices


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
