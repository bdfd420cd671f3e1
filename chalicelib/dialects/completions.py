"""OpenAI's completions as chats, for models that take nothing else: a prompt asked, its answer continued. Sans-IO."""

from collections.abc import Iterator
from typing import Any

import msgspec

from chalicelib.call import Call, Delta, Event, Finished, Source, Stream
from chalicelib.dialects import failures
from chalicelib.refusal import EngineFailed, Malformed

_REFUSED = ("echo", "logprobs", "suffix")
"""What a chat has no word for."""


class _Said(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None


class _Chat(msgspec.Struct):
    created: int = 0
    model: str = ""
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")


_chat = msgspec.json.Decoder(_Chat)


def as_chat(call: Call) -> Call:
    """The chat whose only message is the prompt. Raises: Malformed, for what a chat cannot say."""
    for name in _REFUSED:
        if name in call.fields and bytes(call.fields[name]) not in (b"null", b"false", b'""'):
            raise Malformed(f"This model answers completions as chats, without {name}: leave it out.", field=name)
    message = {"role": "user", "content": _prompt(call.fields["prompt"])}
    fields = {name: value for name, value in call.fields.items() if name not in ("prompt", *_REFUSED)}
    fields["messages"] = msgspec.Raw(msgspec.json.encode([message]))
    return msgspec.structs.replace(call, operation="chat.completions", fields=fields)


def _prompt(prompt: msgspec.Raw) -> str:
    try:
        said: str | list[str] = msgspec.json.decode(prompt, type=str | list[str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("This model takes a prompt as text: tokens are another model's.", field="prompt") from None
    if isinstance(said, str):
        return said
    if len(said) != 1:
        raise Malformed("This model takes one prompt at a time.", field="prompt")
    return said[0]


class Answered:
    """The Stream of a chat, as the Stream of the completion that was asked for."""

    def __init__(self, chat: Stream, asked: Call) -> None:
        self._chat = chat
        self._asked = asked

    def __iter__(self) -> Iterator[Event]:
        for event in self._chat:
            if isinstance(event, Delta):
                yield Delta(self._completion(event.data), event.tokens)
            elif isinstance(event, Finished) and event.data:
                yield Finished(event.usage, self._completion(event.data))
            else:
                yield event

    @property
    def source(self) -> Source:
        """See Stream.source."""
        return self._chat.source

    def close(self) -> None:
        """See Stream.close."""
        self._chat.close()

    def _completion(self, data: bytes) -> bytes:
        """Raises: EngineFailed."""
        try:
            chat = _chat.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineFailed(failures.NOT_UNDERSTOOD) from None
        body: dict[str, Any] = {
            "id": f"cmpl-{self._asked.request_id}",
            "object": "text_completion",
            "created": chat.created,
            "model": chat.model,
            "choices": [_choice(choice) for choice in chat.choices or ()],
        }
        if bytes(chat.usage) != b"null":
            body["usage"] = chat.usage
        return msgspec.json.encode(body)


def _choice(choice: _Choice) -> dict[str, Any]:
    said = choice.message or choice.delta or _Said()
    return {"index": choice.index, "text": said.content or "", "logprobs": None, "finish_reason": choice.finish_reason}
