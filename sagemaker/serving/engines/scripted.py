"""An engine that says what the request tells it to: for tests, load measurements, and drills.

A body may carry `"script": {"tokens": 5, "delay_ms": 0, "break_at": null, "status": 200, "words": []}`; without one,
five words are said at once. `words` are said in their place, as many as there are. `break_at` breaks the answer off
after so many tokens, `-1` hangs for ever instead. A gate, given by tests in the same process, lets each token out only
when it is opened.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from serving.engines import BadModel, Engine, Reply
from serving.refusal import EngineFailed, Malformed
from serving.request import Call
from serving.settings import Settings

Gate = Callable[[int], Awaitable[None]]


class Script(msgspec.Struct, frozen=True):
    tokens: int = 5
    delay_ms: int = 0
    break_at: int | None = None
    status: int = 200
    words: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        return len(self.words) or self.tokens


async def _open_gate(index: int) -> None:
    """Lets every token pass."""


class Scripted:
    """One scripted model; `running` and `stopped` count what it saw, for those who test around it."""

    def __init__(self, name: str, gate: Gate = _open_gate) -> None:
        self.name = name
        self.running = 0
        self.stopped = 0
        self.fault_text: str | None = None
        self._gate = gate

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[Reply]:
        try:
            script = msgspec.json.decode(call.fields.get("script", b"{}"), type=Script)
        except msgspec.ValidationError as error:
            raise Malformed(f"the script is not one: {error}") from None
        self.running += 1
        reply = _Reply(self, call, script)
        try:
            yield reply
        finally:
            self.running -= 1
            self.stopped += not reply.finished

    def fault(self) -> str | None:
        return self.fault_text

    async def close(self) -> None:
        self.fault_text = "closed"

    async def token(self, index: int, script: Script) -> str:
        if script.break_at == index:
            raise EngineFailed("the engine broke off its answer")
        if script.break_at == -1:
            await asyncio.Event().wait()
        await self._gate(index)
        await asyncio.sleep(script.delay_ms / 1000)
        return script.words[index] if script.words else f"w{index} "


class _Reply:
    def __init__(self, engine: Scripted, call: Call, script: Script) -> None:
        self.status = script.status
        self.content_type = "text/event-stream" if call.stream and script.status == 200 else "application/json"
        self.finished = False
        self._engine = engine
        self._call = call
        self._script = script

    async def pieces(self) -> AsyncIterator[bytes]:
        script = self._script
        usage = {"prompt_tokens": 1, "completion_tokens": script.length, "total_tokens": script.length + 1}
        if script.status != 200:
            yield b'{"error":{"message":"as scripted","type":"InternalServerError","code":"scripted"}}'
        elif self._call.op == "embeddings":
            yield self._json(object="list", data=[{"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}])
        elif self._call.stream:
            for index in range(script.length):
                text = await self._engine.token(index, script)
                choice = {"index": 0, "delta": {"content": text}, "text": text, "finish_reason": None}
                yield b"data: " + self._json(object="chat.completion.chunk", choices=[choice]) + b"\n\n"
            last = {"index": 0, "delta": {}, "text": "", "finish_reason": "stop"}
            yield b"data: " + self._json(object="chat.completion.chunk", choices=[last]) + b"\n\n"
            if b"include_usage" in bytes(self._call.fields.get("stream_options", b"")):
                yield b"data: " + self._json(object="chat.completion.chunk", choices=[], usage=usage) + b"\n\n"
            yield b"data: [DONE]\n\n"
        else:
            text = "".join([await self._engine.token(index, script) for index in range(script.length)])
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "text": text, "finish_reason": "stop"}
            yield self._json(object="chat.completion", choices=[choice], usage=usage)
        self.finished = True

    def _json(self, **members: object) -> bytes:
        return msgspec.json.encode(
            {"id": "scripted", "created": int(time.time()), "model": self._engine.name, **members}
        )


class Launcher:
    """A scripted model is any path that exists; its need is the size of the file, so that memory can be tested."""

    def need_mb(self, model: Path, _settings: Settings) -> int:
        if not model.exists():
            raise BadModel(f"there is no model at {model}")
        files = [model] if model.is_file() else [each for each in model.iterdir() if each.is_file()]
        return sum(each.stat().st_size for each in files) // 2**20

    async def launch(self, name: str, _model: Path, _settings: Settings) -> Engine:
        return Scripted(name)
