"""The demo model behind an OpenAI-compatible server, such as `python -m serving`."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit

import msgspec

from emulators.bedrock import sse
from emulators.bedrock.conversation import Conversation, Ended, ModelBroke, Text
from emulators.bedrock.refusal import BedrockError, invalid
from emulators.http_exchange import ExchangeFailed, Reply, exchange

_TOO_LONG = "exceed_context_size_error"


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
                await _check(reply)
                usage = msgspec.json.decode(await reply.read(), type=_Chunk).usage
        except (ExchangeFailed, msgspec.DecodeError):
            raise BedrockError("ServiceUnavailableException") from None
        if usage is None:
            raise BedrockError("ServiceUnavailableException")
        return usage.prompt_tokens

    async def say(self, asked: Conversation) -> AsyncIterator[Text | Ended]:
        begun = False
        try:
            async with self._ask(
                asked, max_tokens=asked.max_tokens, stream=True, stream_options={"include_usage": True}
            ) as reply:
                await _check(reply)
                async for event in _events(reply):
                    begun = True
                    yield event
        except (ExchangeFailed, msgspec.DecodeError):
            if begun:
                raise ModelBroke from None
            raise BedrockError("ServiceUnavailableException") from None

    def _ask(self, asked: Conversation, **members: Any) -> AbstractAsyncContextManager[Reply]:
        messages = [{"role": turn.role, "content": turn.text} for turn in asked.turns]
        if asked.system:
            messages.insert(0, {"role": "system", "content": asked.system})
        sampling = {"temperature": asked.temperature, "top_p": asked.top_p}
        body = {"model": self._name, "messages": messages, **members}
        body |= {name: value for name, value in sampling.items() if value is not None}
        headers = {"content-type": "application/json"}
        return exchange(self._url, "POST", self._path, headers, msgspec.json.encode(body))


async def _check(reply: Reply) -> None:
    if reply.status == 200:
        return
    if _TOO_LONG in (await reply.read()).decode(errors="replace"):
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
