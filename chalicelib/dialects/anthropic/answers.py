"""OpenAI's chats as Anthropic's Messages: what is answered, sans-IO (https://docs.claude.com/en/api/streaming).

Any engine that streams chats answers Messages with it, see `engines.begin`.
"""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from chalicelib.call import Call, Delta, Event, Finished, Source, Stream, Usage
from chalicelib.dialects import failures
from chalicelib.dialects.tool_calls import Fragment, ToolCall, ToolCalls
from chalicelib.refusal import EngineFailed

_STOPS = {"length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use", "content_filter": "refusal"}


class _Said(msgspec.Struct):
    """What one choice says, or gained. Servers disagree on the name of what a model thinks aloud."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Fragment] | None = None


class _Choice(msgspec.Struct):
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None  # vLLM: which stop sequence, or token
    matched_stop: str | int | None = None  # SGLang: the same


class _Chat(msgspec.Struct):
    choices: list[_Choice] | None = None


_chat = msgspec.json.Decoder(_Chat)


class _Block:
    """A block of the message: what it has gained, and how much of that was told."""

    def __init__(self, kind: Literal["thinking", "text", "tool_use"], call: ToolCall | None = None) -> None:
        self.kind = kind
        self.call = call
        self.begun = False
        self._untold: list[str] = []

    def gain(self, text: str) -> None:
        self._untold.append(text)

    def tell(self) -> str:
        """What was not told yet."""
        text = "".join(self._untold)
        self._untold.clear()
        return text


class Answered:
    """The Stream of a chat, as the Stream of the Message, or of the count, that was asked for."""

    def __init__(self, chat: Stream, asked: Call) -> None:
        self._chat = chat
        self._asked = asked

    def __iter__(self) -> Iterator[Event]:
        if self._asked.operation == "messages.count_tokens":
            return self._counted()
        return self._streamed() if self._asked.stream else self._whole()

    @property
    def source(self) -> Source:
        """See Stream.source."""
        return self._chat.source

    def close(self) -> None:
        """See Stream.close."""
        self._chat.close()

    def _counted(self) -> Iterator[Event]:
        for event in self._chat:
            if isinstance(event, Finished):
                if event.usage is None:
                    raise EngineFailed("The model does not tell how many tokens a prompt has.")
                # The one token of the answer was our means; running the prompt is what the count has cost.
                prompt = event.usage.prompt_tokens
                yield Delta(msgspec.json.encode({"input_tokens": prompt}))
                yield Finished(Usage(prompt))
            elif not isinstance(event, Delta):
                yield event

    def _whole(self) -> Iterator[Event]:
        answer = Delta(b"{}")
        for event in self._chat:
            if isinstance(event, Delta):
                answer = event
            elif isinstance(event, Finished):
                usage = event.usage or Usage(self._asked.prompt_tokens, answer.tokens)
                yield Delta(_message(self._asked, answer.data, usage), answer.tokens)
                yield Finished(event.usage)
            else:
                yield event

    def _streamed(self) -> Iterator[Event]:
        message = _Growing(self._asked)
        for event in self._chat:
            if isinstance(event, Delta):
                yield from message.gain(event)
            elif isinstance(event, Finished):
                yield from message.end(event.usage)
                yield Finished(event.usage)
            else:
                yield event


class _Growing:
    """A message that is told as events while a chat's chunks come in.

    Anthropic's blocks come one after the other, a server's calls of tools perhaps not: a block is told as it grows
    once those before it can grow no more.
    """

    def __init__(self, asked: Call) -> None:
        self._asked = asked
        self._begun = False
        self._calls = ToolCalls()
        self._blocks: list[_Block] = []  # in their order
        self._at = 0  # the block that is told now; those before it are over
        self._stop: tuple[str | None, str | None] = (None, None)
        self._untold = 0  # tokens of chunks that gave no event
        self._tokens = 0
        self._bytes = 0

    def gain(self, chunk: Delta) -> Iterator[Delta]:
        """The events of one chunk; its tokens are counted on the first of them. Raises: EngineFailed."""
        self._tokens += chunk.tokens
        self._bytes += len(chunk.data)
        if self._bytes > failures.GROWN_LIMIT_BYTES:  # a server that does not end
            raise EngineFailed(failures.TOO_LONG)
        self._untold += chunk.tokens
        for event in self._events(chunk.data):
            yield Delta(msgspec.json.encode(event), self._untold)
            self._untold = 0

    def end(self, usage: Usage | None) -> Iterator[Delta]:
        """The last events. Where the server has not counted, the numbers are those that will be charged."""
        counted = usage or Usage(self._asked.prompt_tokens, self._tokens)
        reason, sequence = self._stop
        stop = {"stop_reason": _reason(reason, sequence, len(self._calls) > 0), "stop_sequence": sequence}
        for event in (
            *self._rest(),
            {"type": "message_delta", "delta": stop, "usage": _usage(counted)},
            {"type": "message_stop"},
        ):
            yield Delta(msgspec.json.encode(event))

    def _events(self, data: bytes) -> Iterator[dict[str, Any]]:
        choice = _choice(data)
        if not self._begun:
            self._begun = True
            head = _head(self._asked, [], None, None, Usage())
            yield {"type": "message_start", "message": head}
        if choice.delta is not None:
            self._grow(choice.delta)
            yield from self._grown()
        if choice.finish_reason:
            self._stop = (choice.finish_reason, _sequence(choice))

    def _grow(self, said: _Said) -> None:
        for kind, text in _texts(said):
            if not self._blocks or self._blocks[-1].kind != kind:
                self._blocks.append(_Block(kind))
            self._blocks[-1].gain(text)
        for fragment in said.tool_calls or ():
            call = self._calls.gain(fragment)
            block = next((block for block in self._blocks if block.call is call), None)
            if block is None:
                self._blocks.append(block := _Block("tool_use", call))
            block.gain(fragment.arguments)

    def _grown(self) -> Iterator[dict[str, Any]]:
        """What can be told by now."""
        while self._at < len(self._blocks):
            block = self._blocks[self._at]
            last = self._at == len(self._blocks) - 1
            if block.call is not None and not block.begun and not block.call.name:
                return  # its name is still to come
            yield from self._told(block)
            if last or (block.call is not None and not block.call.complete):
                return
            yield from self._over()

    def _rest(self) -> Iterator[dict[str, Any]]:
        while self._at < len(self._blocks):
            yield from self._told(self._blocks[self._at])
            yield from self._over()

    def _told(self, block: _Block) -> Iterator[dict[str, Any]]:
        if not block.begun:
            block.begun = True
            yield {"type": "content_block_start", "index": self._at, "content_block": self._head(block)}
        if text := block.tell():
            delta = {
                "thinking": {"type": "thinking_delta", "thinking": text},
                "text": {"type": "text_delta", "text": text},
                "tool_use": {"type": "input_json_delta", "partial_json": text},
            }[block.kind]
            yield {"type": "content_block_delta", "index": self._at, "delta": delta}

    def _over(self) -> Iterator[dict[str, Any]]:
        yield {"type": "content_block_stop", "index": self._at}
        self._at += 1

    def _head(self, block: _Block) -> dict[str, Any]:
        if block.call is not None:
            return _tool_use(self._asked, block.call, {})
        if block.kind == "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        return {"type": "text", "text": ""}


def _message(asked: Call, data: bytes, usage: Usage) -> bytes:
    """A whole answer. Raises: EngineFailed."""
    choice = _choice(data)
    said = choice.message or _Said()
    blocks: list[dict[str, Any]] = []
    for kind, text in _texts(said):
        if kind == "thinking":
            blocks.append({"type": "thinking", "thinking": text, "signature": ""})
        elif blocks and blocks[-1]["type"] == "text":
            blocks[-1]["text"] += text
        else:
            blocks.append({"type": "text", "text": text})
    for number, fragment in enumerate(said.tool_calls or ()):  # each is a whole call, whatever it is numbered
        call = ToolCall(number)
        call.gain(fragment)
        blocks.append(_tool_use(asked, call, _input(call.arguments)))
    calls = any(block["type"] == "tool_use" for block in blocks)
    sequence = _sequence(choice)
    return msgspec.json.encode(_head(asked, blocks, _reason(choice.finish_reason, sequence, calls), sequence, usage))


def _choice(data: bytes) -> _Choice:
    """The one choice; an empty one of a chunk that has none. Raises: EngineFailed."""
    try:
        choices = _chat.decode(data).choices
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EngineFailed(failures.NOT_UNDERSTOOD) from None
    return choices[0] if choices else _Choice()


def _texts(said: _Said) -> Iterator[tuple[Literal["thinking", "text"], str]]:
    if thought := said.reasoning_content or said.reasoning:
        yield "thinking", thought
    if said.content:
        yield "text", said.content
    if said.refusal:
        yield "text", said.refusal


def _head(
    asked: Call, blocks: list[dict[str, Any]], reason: str | None, sequence: str | None, usage: Usage
) -> dict[str, Any]:
    return {
        "id": f"msg_{asked.request_id}",
        "type": "message",
        "role": "assistant",
        "model": asked.model_name,
        "content": blocks,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": _usage(usage),
    }


def _usage(usage: Usage) -> dict[str, int]:
    """Anthropic counts what was read from a cache apart from the rest of the prompt."""
    read = {"cache_read_input_tokens": usage.cached_tokens} if usage.cached_tokens else {}
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        **read,
        "output_tokens": usage.completion_tokens,
    }


def _tool_use(asked: Call, call: ToolCall, given: object) -> dict[str, Any]:
    # Its id comes back with the tool's result: where the server gave none, one of ours does as well.
    name = call.id or f"toolu_{asked.request_id}_{call.number}"
    return {"type": "tool_use", "id": name, "name": call.name, "input": given}


def _input(arguments: str) -> object:
    """A tool's input as it was written; what is cut off or no object is named as Anthropic's own tools expect it.

    https://docs.claude.com/en/docs/agents-and-tools/tool-use/fine-grained-tool-streaming
    """
    if not arguments:
        return {}
    try:
        msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return {"INVALID_JSON": arguments}
    return msgspec.Raw(arguments.encode())


def _reason(reason: str | None, sequence: str | None, calls: bool) -> str:
    if sequence is not None:
        return "stop_sequence"
    # Some servers end a call of a tool by a plain stop.
    return _STOPS.get(reason or "", "tool_use" if calls else "end_turn")


def _sequence(choice: _Choice) -> str | None:
    for matched in (choice.stop_reason, choice.matched_stop):
        if isinstance(matched, str) and choice.finish_reason == "stop":
            return matched
    return None
