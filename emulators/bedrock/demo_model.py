"""The demo model behind an OpenAI-compatible server, such as `python -m serving`.

Its context is a hundredth of theirs whom it stands in for. Of a prompt that is longer it is asked the end.
"""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec

from emulators.bedrock import prompt_end, sse
from emulators.bedrock.conversation import Conversation, Ended, ModelBroke, Text
from emulators.bedrock.refusal import BedrockError, invalid
from emulators.http_exchange import ExchangeFailed, Reply, exchange

_TOO_LONG = "exceed_context_size_error"
_LENGTHS = re.compile(
    r"request \((?P<prompt>\d+) tokens\) exceeds the available context size \((?P<context>\d+) tokens\)"
)
"""As llama.cpp says it, which counts before it refuses."""


class _TooLong(msgspec.Struct, frozen=True):
    """What the server counts, in tokens."""

    prompt: int
    context: int


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int


class _Chunk(msgspec.Struct, frozen=True):
    """A chunk of a stream, or as much of a whole answer as is looked at."""

    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None


class DemoModel:
    """A `Model`. `url` ends in `/v1`; `name` is what the server calls the model."""

    def __init__(self, url: str, name: str) -> None:
        where = urlsplit(url)
        self._url = f"{where.scheme}://{where.netloc}"
        self._path = f"{where.path.rstrip('/')}/chat/completions"
        self._name = name

    async def count(self, asked: Conversation) -> int:
        # One token more than nothing: the protocol has no way to count but to be answered.
        try:
            async with self._ask(asked, max_tokens=1) as reply:
                if too_long := await _check(reply):
                    return too_long.prompt
                usage = msgspec.json.decode(await reply.read(), type=_Chunk).usage
        except (ExchangeFailed, msgspec.DecodeError):
            raise BedrockError("ServiceUnavailableException") from None
        if usage is None:
            raise BedrockError("ServiceUnavailableException")
        return usage.prompt_tokens

    async def say(self, asked: Conversation) -> AsyncIterator[Text | Ended]:
        begun = False
        try:
            async with self._answering(asked) as reply:
                async for event in _events(reply):
                    begun = True
                    yield event
        except (ExchangeFailed, msgspec.DecodeError):
            if begun:
                raise ModelBroke from None
            raise BedrockError("ServiceUnavailableException") from None

    @asynccontextmanager
    async def _answering(self, asked: Conversation) -> AsyncIterator[Reply]:
        """The stream that answers it, or its end. Raises Refused."""
        members = {"max_tokens": asked.max_tokens, "stream": True, "stream_options": {"include_usage": True}}
        while True:
            async with self._ask(asked, **members) as reply:
                too_long = await _check(reply)
                if too_long is None:
                    yield reply
                    return
            # Half of the context is for the answer; where the end has more tokens a character than the rest, once more.
            most = prompt_end.length(asked) * too_long.context // (2 * too_long.prompt)
            if most < 1:
                raise BedrockError("ServiceUnavailableException")
            asked = prompt_end.ending(asked, most)

    def _ask(self, asked: Conversation, **members: Any) -> AbstractAsyncContextManager[Reply]:
        messages = [{"role": turn.role, "content": turn.text} for turn in asked.turns]
        if asked.system:
            messages.insert(0, {"role": "system", "content": asked.system})
        sampling = {"temperature": asked.temperature, "top_p": asked.top_p}
        body = {"model": self._name, "messages": messages, **members}
        body |= {name: value for name, value in sampling.items() if value is not None}
        headers = {"content-type": "application/json"}
        return exchange(self._url, "POST", self._path, headers, msgspec.json.encode(body))


async def _check(reply: Reply) -> _TooLong | None:
    """None where the server answers. Raises Refused, where it does not and its context is not the reason."""
    if reply.status == 200:
        return None
    said = (await reply.read()).decode(errors="replace")
    if _TOO_LONG in said:
        if found := _LENGTHS.search(said):
            return _TooLong(int(found["prompt"]), int(found["context"]))
        raise invalid("Input is too long for requested model.")
    raise BedrockError("ThrottlingException" if reply.status == 429 else "ServiceUnavailableException")


async def _events(reply: Reply) -> AsyncIterator[Text | Ended]:
    reader, reason, usage = sse.Reader(), None, None
    async for piece in reply.pieces():
        for data in reader.feed(piece):
            if data == b"[DONE]":
                continue
            chunk = msgspec.json.decode(data, type=_Chunk)
            usage = chunk.usage or usage
            for choice in chunk.choices:
                reason = choice.finish_reason or reason
                if choice.delta.content:
                    yield Text(choice.delta.content)
    if reason is None or usage is None:
        raise ExchangeFailed("the stream ended without saying why")
    yield Ended("max_tokens" if reason == "length" else "end_turn", usage.completion_tokens)
