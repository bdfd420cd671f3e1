"""OpenAI's chats as OpenAI's Responses: what is answered, sans-IO.

https://platform.openai.com/docs/api-reference/responses-streaming

Any engine that streams chats answers Responses with it, see `engines.begin`. Unlike a chat's, the stream numbers its
events, tells the whole Response at its end, and has no `[DONE]`.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

from chalicelib.call import Call, Delta, Event, Finished, Source, Stream, Usage
from chalicelib.dialects import failures
from chalicelib.dialects.responses.output import Happening, Output, Said, Status
from chalicelib.dialects.responses.tools import names
from chalicelib.refusal import EngineFailed

_NOTHING = msgspec.Raw(b"null")
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer ended early, in a Response's words, by a chat's."""

_AS_ASKED: Mapping[str, object] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": False,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "user": None,
}
"""What a Response repeats of its request, and what it says where the request did not."""


class _Choice(msgspec.Struct):
    message: Said | None = None
    delta: Said | None = None
    finish_reason: str | None = None


class _Chat(msgspec.Struct):
    choices: list[_Choice] | None = None
    created: msgspec.Raw = _NOTHING
    usage: msgspec.Raw = _NOTHING


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: _Count | None = None


class _Details(msgspec.Struct):
    completion_tokens_details: _OutputDetails | None = None


_chat = msgspec.json.Decoder(_Chat)


class Answered:
    """The Stream of a chat, as the Stream of the Response that was asked for."""

    def __init__(self, chat: Stream, asked: Call) -> None:
        self._chat = chat
        # A stream runs for minutes. What is copied is no piece of the whole body any more, which would stay with it.
        repeated = {name: raw.copy() for name, raw in asked.fields.items() if name == "text" or name in _AS_ASKED}
        self._asked = msgspec.structs.replace(asked.forgotten(), fields=repeated)

    def __iter__(self) -> Iterator[Event]:
        return self._streamed() if self._asked.stream else self._whole()

    @property
    def source(self) -> Source:
        """See Stream.source."""
        return self._chat.source

    def close(self) -> None:
        """See Stream.close."""
        self._chat.close()

    def _whole(self) -> Iterator[Event]:
        """A stream of one piece, of which only the end is told."""
        response = _Growing(self._asked)
        counted = 0
        for event in self._chat:
            if isinstance(event, Delta):
                counted += event.tokens
                for _ in response.gain(event):
                    pass
            elif isinstance(event, Finished):
                for _ in response.end(event):
                    pass
                yield Delta(msgspec.json.encode(response.told), counted)
                yield Finished(event.usage)
            else:
                yield event

    def _streamed(self) -> Iterator[Event]:
        response = _Growing(self._asked)
        number = 0
        untold = 0  # tokens of chunks that gave no event
        for event in self._chat:
            if isinstance(event, Delta):
                untold += event.tokens
                for happening in response.gain(event):
                    yield Delta(_encoded(happening, number), untold)
                    number, untold = number + 1, 0
            elif isinstance(event, Finished):
                for happening in response.end(event):
                    yield Delta(_encoded(happening, number))
                    number += 1
                yield Finished(event.usage)
            else:
                yield event


class _Begun(msgspec.Struct):
    response: dict[str, msgspec.Raw]


def broken(created: bytes, number: int, code: str, message: str, param: str | None, request_id: str) -> Iterator[bytes]:
    """The events that end a stream which broke.

    `created`: its first event, empty where there was none yet; `number`: of the next one. OpenAI documents the
    members of an error at the top of its event and sends them in an object below, by which its SDKs know it: so both.
    """
    error = {"code": code, "message": message, "param": param}
    yield _encoded({**error, "type": "error", "error": {"type": code, **error, "request_id": request_id}}, number)
    if created:
        told = msgspec.json.decode(created, type=_Begun).response
        response = {**told, "status": "failed", "error": {"code": code, "message": message}}
        yield _encoded({"type": "response.failed", "response": response}, number + 1)


class _Growing:
    """A Response that is told as events while a chat's answer comes in."""

    def __init__(self, asked: Call) -> None:
        self._asked = asked
        self._output = Output(asked.request_id, names(asked.fields))
        self.told: dict[str, Any] = {}
        """The Response as it was told last; empty before its first event."""
        self._finish: str | None = None
        self._usage = _NOTHING
        self._tokens = 0
        self._bytes = 0

    def gain(self, chunk: Delta) -> Iterator[Happening]:
        """Raises: EngineFailed."""
        self._tokens += chunk.tokens
        self._bytes += len(chunk.data)
        if self._bytes > failures.GROWN_LIMIT_BYTES:  # a server that does not end
            raise EngineFailed(failures.TOO_LONG)
        chat = self._read(chunk.data)
        yield from self._begun(chat)
        choice = chat.choices[0] if chat.choices else _Choice()
        self._finish = choice.finish_reason or self._finish
        if said := choice.delta or choice.message:
            yield from self._output.gain(said)

    def end(self, finished: Finished) -> Iterator[Happening]:
        """Where the server has not counted, the numbers are those that will be charged. Raises: EngineFailed."""
        if finished.data:
            self._read(finished.data)
        yield from self._begun(_Chat())
        reason = _INCOMPLETE.get(self._finish or "")
        status: Status = "incomplete" if reason else "completed"
        yield from self._output.end(status)
        self.told = {
            **self.told,
            "status": status,
            "incomplete_details": reason and {"reason": reason},
            "output": self._output.items(),
            "usage": _usage(finished.usage or Usage(self._asked.prompt_tokens, self._tokens), self._usage),
        }
        yield {"type": f"response.{status}", "response": self.told}

    def _begun(self, chat: _Chat) -> Iterator[Happening]:
        if not self.told:
            self.told = _response(self._asked, _seconds(chat.created))
            yield {"type": "response.created", "response": self.told}
            yield {"type": "response.in_progress", "response": self.told}

    def _read(self, data: bytes) -> _Chat:
        try:
            chat = _chat.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineFailed(failures.NOT_UNDERSTOOD) from None
        if bytes(chat.usage) != b"null":
            self._usage = chat.usage.copy()  # some servers count in every chunk: the last one is right
        return chat


def _response(asked: Call, created_s: int) -> dict[str, Any]:
    """A Response that has nothing yet."""
    given = {name: _given(asked.fields, name, otherwise) for name, otherwise in _AS_ASKED.items()}
    text = msgspec.json.decode(asked.fields.get("text", b"null"), type=dict[str, msgspec.Raw] | None) or {}
    return {
        "id": f"resp_{asked.request_id}",
        "object": "response",
        "created_at": created_s,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": asked.model_name,
        "output": [],
        "service_tier": "default",
        "text": {"format": {"type": "text"}, **{name: _given(text, name, None) for name in text}},
        "top_logprobs": 0,
        "truncation": "disabled",
        "usage": None,
        **given,
    }


def _given(fields: Mapping[str, msgspec.Raw], name: str, otherwise: object) -> object:
    raw = bytes(fields.get(name, b"null"))
    # JSON has line ends between its tokens only, and they would cut an event.
    return otherwise if raw == b"null" else msgspec.Raw(raw.replace(b"\n", b" ").replace(b"\r", b" "))


def _seconds(created: msgspec.Raw) -> int:
    """When the server says that it began."""
    try:
        return int(msgspec.json.decode(created, type=float | None) or 0)
    except (msgspec.DecodeError, OverflowError):
        return 0


def _usage(usage: Usage, told: msgspec.Raw) -> dict[str, Any]:
    try:
        details = msgspec.json.decode(told, type=_Details | None) or _Details()
    except msgspec.DecodeError:
        details = _Details()  # a server's own, in a form that nobody knows
    of_answer = details.completion_tokens_details or _OutputDetails()
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": of_answer.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens,
    }


def _encoded(happening: Happening, number: int) -> bytes:
    return msgspec.json.encode({"type": happening["type"], "sequence_number": number, **happening})
