"""What InvokeModel takes and gives: Anthropic's Messages, and any model's own body. Sans-IO.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html
"""

from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec

from chalicelib.call import Call, Delta, Event, Finished, Started, Usage
from chalicelib.dialects import buckets, ceilings, failures
from chalicelib.dialects.model_name import MISSING, ModelName
from chalicelib.dialects.names import Names
from chalicelib.refusal import EngineFailed, Malformed

ANTHROPIC_VERSION = "bedrock-2023-05-31"
JSON = "application/json"

_SCHEMAS = ("input_schema", "inputSchema", "parameters", "json", "json_schema")
"""What callers and models agree on, in the words of Claude, Nova and those who speak as OpenAI does."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


_MediaType = Annotated[str, msgspec.Meta(pattern=r"^[\x20-\x7e]{1,100}$")]  # it becomes a header


class Invocation(msgspec.Struct, frozen=True):
    """What InvokeModel is asked: a body, and as what it is written and wanted."""

    body: bytes
    content_type: str = JSON
    accept: str = JSON


class _Invoked(msgspec.Struct):
    body: msgspec.Raw
    content_type: _MediaType = msgspec.field(default=JSON, name="contentType")
    accept: _MediaType = JSON


class _Metrics(msgspec.Struct, rename="camel"):
    input_token_count: _Count = 0  # without those that were read from or written to a cache
    output_token_count: _Count = 0
    cache_read_input_token_count: _Count = 0
    cache_write_input_token_count: _Count = 0


class _Counted(msgspec.Struct):
    """Anthropic's count: of the prompt, without what was read from or written to a cache."""

    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None


class _Message(msgspec.Struct, tag_field="type", tag="message"):
    usage: _Counted
    model: msgspec.Raw = MISSING


class _Begun(msgspec.Struct):
    usage: _Counted = msgspec.field(default_factory=_Counted)
    model: msgspec.Raw = MISSING


class _Piece(msgspec.Struct):
    """A chunk of a stream, as far as we must know it."""

    type: str = ""
    message: _Begun | None = None
    usage: _Counted | None = None
    metrics: _Metrics | None = msgspec.field(default=None, name="amazon-bedrock-invocationMetrics")


class _Chunk(msgspec.Struct):
    bytes: bytes


_chunk = msgspec.json.Decoder(_Chunk)
_piece = msgspec.json.Decoder(_Piece)
_message = msgspec.json.Decoder(_Message)


def must_be_the_callers(body: bytes) -> None:
    """See that a model's own body asks for nothing that is not its caller's to ask for. Raises Malformed."""
    try:
        buckets.must_name_none(body, _SCHEMAS)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("`body` is not valid JSON.", field="body") from None


def messages(call: Call, model: str, names: Names) -> bytes:
    """The body of InvokeModel for a Message of one of Anthropic's models. Raises: Malformed.

    `names` learns what is called otherwise there.
    """
    # Not at the top: who sends chats, or bodies as they are, does not pay for loading it.
    from chalicelib.dialects.anthropic import claude

    body = claude.message(call.fields, model, names)
    body["anthropic_version"] = ANTHROPIC_VERSION
    for ours in ("model", "stream"):
        body.pop(ours, None)
    if not call.ceiling_tokens:
        # Counting tokens reserves none, but the body must name some, and more than may be thought.
        body["max_tokens"] = ceilings.of_thought(body) + 1
        return msgspec.json.encode(body)
    if (ceilings.of_message(call.fields) or 0) > call.ceiling_tokens:
        body = ceilings.with_thought_below(body, call.ceiling_tokens)
    body["max_tokens"] = call.ceiling_tokens
    return msgspec.json.encode(body)


def invocation(call: Call, model: str) -> Invocation:
    """What an `invoke` brings. Raises: Malformed.

    `body` may be the JSON itself, or a text that holds it, as AWS's SDKs take it.
    """
    try:
        asked = msgspec.json.decode(msgspec.json.encode(call.fields), type=_Invoked)
        raw = bytes(asked.body)
        body = msgspec.json.decode(raw, type=str).encode() if raw[:1] == b'"' else raw
        if asked.content_type.startswith(JSON):
            body = ceilings.bounded_body(body, model, call.ceiling_tokens)
    except msgspec.ValidationError as error:
        raise Malformed(f"The request is not as Bedrock's InvokeModel takes it: {error}", field="body") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("`body` is not valid JSON.", field="body") from None
    return Invocation(body, asked.content_type, asked.accept)


def whole(body: bytes, headers: Mapping[str, str], operation: str, model: str = "") -> tuple[Delta, Finished]:
    """A whole answer. Bedrock counts its tokens in headers. Raises: EngineFailed if Messages got something else.

    `model`: what the caller of Messages calls it, and is told. A model's own body says what it says.
    """
    usage = _usage_of(headers)
    if operation == "messages":
        try:
            message = _message.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineFailed(failures.NOT_UNDERSTOOD) from None
        usage = usage or _usage(message.usage)
        body = ModelName(model).put(body, message.model)
    return Delta(body, usage.completion_tokens if usage else 0), Finished(usage)


def _usage_of(headers: Mapping[str, str]) -> Usage | None:
    if "x-amzn-bedrock-input-token-count" not in headers:
        return None
    kinds = ("input", "output", "cache-read-input", "cache-write-input")
    counts = [headers.get(f"x-amzn-bedrock-{kind}-token-count", "") for kind in kinds]
    return _measured(_Metrics(*(int(count) if count.isdecimal() else 0 for count in counts)))


def _measured(metrics: _Metrics) -> Usage:
    cached = metrics.cache_read_input_token_count + metrics.cache_write_input_token_count
    return Usage(metrics.input_token_count + cached, metrics.output_token_count, metrics.cache_read_input_token_count)


def _usage(counted: _Counted) -> Usage:
    read = counted.cache_read_input_tokens or 0
    cached = read + (counted.cache_creation_input_tokens or 0)
    return Usage((counted.input_tokens or 0) + cached, counted.output_tokens or 0, read)


def _with_prompt(data: bytes, prompt: _Counted) -> bytes:
    """The last count of a stream with the prompt's, as Anthropic's own service has it and Bedrock has not.

    LangChain and Claude Code look nowhere else.
    """
    said = msgspec.json.decode(data)
    usage = said["usage"]
    for name, count in msgspec.structs.asdict(prompt).items():
        if count is not None and usage.get(name) is None:
            usage[name] = count
    return msgspec.json.encode(said)


class Chunks:
    """The stream of a model's own JSON, told as it comes. Not thread-safe."""

    def __init__(self, started: Started, operation: str, model: str = "") -> None:
        """`model`: see whole."""
        self._started = started
        self._model = ModelName(model)
        self._messages = operation == "messages"
        self._begun = False
        self._usage: Usage | None = None
        self._prompt: _Counted | None = None
        self.done = False

    def read(self, kind: str, payload: bytes) -> Iterator[Event]:
        """See Reader.read."""
        if kind != "chunk":
            return
        try:
            data = _chunk.decode(payload).bytes
            piece = _piece.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineFailed(failures.NOT_UNDERSTOOD) from None
        if self._messages and piece.message is not None:
            data = self._model.put_into(data, "message", piece.message.model)
        self._count(piece)
        if self._prompt is not None and piece.usage is not None and piece.usage.input_tokens is None:
            data = _with_prompt(data, self._prompt)
        if not self._begun:
            self._begun = True
            yield self._started
        # A chunk of Anthropic's that is no delta carries no token; of others', nobody knows.
        yield Delta(data.replace(b"\n", b" "), int(not self._messages or piece.type == "content_block_delta"))
        if piece.metrics is not None if not self._messages else piece.type == "message_stop":
            self.done = True
            yield Finished(self._usage)

    def end(self) -> Iterator[Event]:
        """See Reader.end.

        Not every model's last chunk has the metrics; a stream that was cut has another end.
        """
        if self._messages or not self._begun:
            raise EngineFailed(failures.BROKE_OFF)
        self.done = True
        yield Finished(self._usage)

    def _count(self, piece: _Piece) -> None:
        if piece.metrics is not None:
            self._usage = _measured(piece.metrics)
        elif self._messages and piece.message is not None:
            self._prompt = piece.message.usage
            self._usage = _usage(self._prompt)
        elif self._messages and piece.usage is not None and self._usage is not None:
            # The last one counts the whole answer.
            self._usage = msgspec.structs.replace(self._usage, completion_tokens=piece.usage.output_tokens or 0)
