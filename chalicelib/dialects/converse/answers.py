"""Bedrock's Converse as OpenAI's chats: what is answered. Pure.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from chalicelib.call import Delta, Event, Finished, Started, Usage
from chalicelib.dialects import failures
from chalicelib.dialects.names import Names
from chalicelib.refusal import EngineFailed

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
_INDEX_LIMIT = 10_000

_STOPS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


class Heading(msgspec.Struct, frozen=True):
    """What every piece of one answer says of it, and how its caller reads it."""

    id: str
    model: str
    created_s: int
    names: Names = msgspec.field(default_factory=Names)
    functions: bool = False  # asked with `functions`, from before there were tools: one `function_call`


class _Counted(msgspec.Struct, frozen=True, rename="camel"):
    input_tokens: _Count = 0  # without those that were read from or written to a cache
    output_tokens: _Count = 0
    cache_read_input_tokens: _Count = 0
    cache_write_input_tokens: _Count = 0


class _ReasoningText(msgspec.Struct, rename="camel"):
    text: str = ""


class _Reasoning(msgspec.Struct, rename="camel"):
    reasoning_text: _ReasoningText = msgspec.field(default_factory=_ReasoningText)


class _ToolUse(msgspec.Struct, rename="camel"):
    tool_use_id: str
    name: str
    input: Any


class _Block(msgspec.Struct, rename="camel"):
    text: str = ""
    tool_use: _ToolUse | None = None
    reasoning_content: _Reasoning = msgspec.field(default_factory=_Reasoning)


class _Message(msgspec.Struct):
    content: list[_Block]


class _Output(msgspec.Struct):
    message: _Message


class _Whole(msgspec.Struct, rename="camel"):
    output: _Output
    stop_reason: str
    usage: _Counted


class _ToolStart(msgspec.Struct, rename="camel"):
    tool_use_id: str
    name: str


class _Start(msgspec.Struct, rename="camel"):
    tool_use: _ToolStart | None = None


class _ToolPiece(msgspec.Struct):
    input: str = ""


class _Piece(msgspec.Struct, rename="camel"):
    text: str = ""
    tool_use: _ToolPiece | None = None
    reasoning_content: _ReasoningText = msgspec.field(default_factory=_ReasoningText)


class _Said(msgspec.Struct, rename="camel"):
    """An event of a stream; each kind has some of these members."""

    content_block_index: Annotated[int, msgspec.Meta(ge=0, le=_INDEX_LIMIT)] = 0
    start: _Start = msgspec.field(default_factory=_Start)
    delta: _Piece = msgspec.field(default_factory=_Piece)
    stop_reason: str = ""
    usage: _Counted | None = None


_whole = msgspec.json.Decoder(_Whole)
_said = msgspec.json.Decoder(_Said)


def whole(body: bytes, heading: Heading) -> tuple[Delta, Finished]:
    """A whole answer. Raises EngineFailed if it is none."""
    try:
        said = _whole.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EngineFailed(failures.NOT_UNDERSTOOD) from None
    blocks = said.output.message.content
    message: dict[str, Any] = {"role": "assistant", "content": "".join(block.text for block in blocks) or None}
    if thought := "".join(block.reasoning_content.reasoning_text.text for block in blocks):
        message["reasoning_content"] = thought
    if calls := [_call(block.tool_use, heading.names) for block in blocks if block.tool_use is not None]:
        message |= {"function_call": calls[0]["function"]} if heading.functions else {"tool_calls": calls}
    stop = _stop(said.stop_reason, heading)
    made = {
        **_head(heading, "chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": stop}],
        "usage": _usage(said.usage),
    }
    counted = _counted(said.usage)
    return Delta(msgspec.json.encode(made), counted.completion_tokens), Finished(counted)


def counted(usage: msgspec.Raw) -> Usage:
    """What Converse counted, as we count. Raises msgspec.DecodeError."""
    return _counted(msgspec.json.decode(usage, type=_Counted))


class Reader:
    """One streamed answer, from Converse's events to ours. Not thread-safe."""

    def __init__(self, started: Started, heading: Heading) -> None:
        self._started = started
        self._heading = heading
        self._calls: dict[int, int] = {}  # block -> which call of a tool it is
        self._empty_calls: set[int] = set()  # blocks of calls without any arguments so far
        self._begun = False
        self.done = False  # `Finished` was told

    def read(self, kind: str, payload: bytes) -> Iterator[Event]:
        """The events that one of Converse's makes; `kind` is its name. Raises EngineFailed for garbage."""
        try:
            said = _said.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineFailed(failures.NOT_UNDERSTOOD) from None
        for event in self._events(kind, said):
            if not self._begun:
                # Only now: until there is something of the answer, another target may still be tried.
                self._begun = True
                yield self._started
                yield self._chunk({"role": "assistant", "content": ""}, tokens=0)
            yield event

    def end(self) -> Iterator[Event]:
        """The stream is over. Raises EngineFailed, because the answer is not."""
        raise EngineFailed(failures.BROKE_OFF)

    def _events(self, kind: str, said: _Said) -> Iterator[Event]:
        block = said.content_block_index
        if kind == "contentBlockStart" and said.start.tool_use is not None:
            yield self._called(block, said.start.tool_use)
        elif kind == "contentBlockDelta":
            yield from self._gained(block, said.delta)
        elif kind == "contentBlockStop" and block in self._empty_calls:
            yield self._argued(block, "{}")
        elif kind == "messageStop":
            yield self._chunk({}, tokens=0, stop=_stop(said.stop_reason, self._heading))
        elif kind == "metadata" and said.usage is not None:
            self.done = True
            chunk = {**_head(self._heading, "chat.completion.chunk"), "choices": [], "usage": _usage(said.usage)}
            yield Finished(_counted(said.usage), msgspec.json.encode(chunk))

    def _called(self, block: int, tool: _ToolStart) -> Delta:
        self._calls[block] = len(self._calls)
        self._empty_calls.add(block)
        names = self._heading.names
        function = {"name": names.callers(tool.name), "arguments": ""}
        call = {"id": names.callers(tool.tool_use_id), "type": "function", "function": function}
        return self._call(block, call)

    def _gained(self, block: int, piece: _Piece) -> Iterator[Delta]:
        if piece.text:
            yield self._chunk({"content": piece.text})
        if piece.reasoning_content.text:
            yield self._chunk({"reasoning_content": piece.reasoning_content.text})
        if piece.tool_use is not None and piece.tool_use.input:
            yield self._argued(block, piece.tool_use.input)

    def _argued(self, block: int, arguments: str) -> Delta:
        if block not in self._calls:
            raise EngineFailed(failures.NOT_UNDERSTOOD)
        self._empty_calls.discard(block)
        return self._call(block, {"function": {"arguments": arguments}})

    def _call(self, block: int, call: dict[str, Any]) -> Delta:
        index = self._calls[block]
        if not self._heading.functions:
            return self._chunk({"tool_calls": [{"index": index, **call}]})
        return self._chunk({} if index else {"function_call": call["function"]})  # there is no way to say a second

    def _chunk(self, delta: dict[str, Any], *, tokens: int = 1, stop: str | None = None) -> Delta:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": stop}
        chunk = {**_head(self._heading, "chat.completion.chunk"), "choices": [choice]}
        return Delta(msgspec.json.encode(chunk), tokens)


def _head(heading: Heading, kind: str) -> dict[str, Any]:
    return {"id": heading.id, "object": kind, "created": heading.created_s, "model": heading.model}


def _call(tool: _ToolUse, names: Names) -> dict[str, Any]:
    function = {"name": names.callers(tool.name), "arguments": msgspec.json.encode(tool.input).decode()}
    return {"id": names.callers(tool.tool_use_id), "type": "function", "function": function}


def _stop(reason: str, heading: Heading) -> str:
    stop = _STOPS.get(reason, "stop")
    return "function_call" if heading.functions and stop == "tool_calls" else stop


def _counted(counted: _Counted) -> Usage:
    cached = counted.cache_read_input_tokens + counted.cache_write_input_tokens
    return Usage(counted.input_tokens + cached, counted.output_tokens, counted.cache_read_input_tokens)


def _usage(counted: _Counted) -> dict[str, Any]:
    usage = _counted(counted)
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": counted.cache_read_input_tokens},
    }
