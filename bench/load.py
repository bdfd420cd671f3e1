"""The client: a closed loop of keep-alive connections, the same bytes to whoever is measured.

One asyncio protocol per connection, so that the client costs little beside the gateways; every answer is
checked, because a fast refusal is no achievement.
"""

import asyncio
import gc
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.upstream import CHUNKS, MODEL

GIVE_UP_S = 30.0


class BadAnswer(Exception):
    """The gateway did not answer as asked; the text is what it said."""


@dataclass(frozen=True)
class Request:
    """One request, ready to send, and whether its answer is a stream."""

    wire: bytes
    streamed: bool
    mark: bytes = b"data:"  # what the first chunk of the answer is known by; empty: the body's first byte


@dataclass
class Load:
    """What one closed loop saw. Times in nanoseconds."""

    total: list[int] = field(default_factory=list)  # request sent -> answer complete
    first: list[int] = field(default_factory=list)  # request sent -> first `data:` of a stream
    seconds: float = 0.0

    @property
    def count(self) -> int:
        return len(self.total)

    @property
    def per_s(self) -> float:
        return self.count / self.seconds


def percentile(values: list[int], share: float) -> float:
    """The value below which `share` (0..1) of the values lie, by nearest rank, in milliseconds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1e6


def ask(path: str, key: str | None, *, paced: bool = False, streamed: bool = False) -> Request:
    """A chat completion of a short prompt; 64 tokens at most, more than the upstream answers with."""
    prompt = "paced" if paced else "hello"
    body: dict[str, object] = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "max_tokens": 64}
    if streamed:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    content = json.dumps(body, separators=(",", ":")).encode()
    return Request(post(path, key, content, {}), streamed)


def post(path: str, key: str | None, content: bytes, headers: Mapping[str, str]) -> bytes:
    """The bytes of a request; JSON, unless the headers say otherwise."""
    fields = {
        "host": "127.0.0.1",
        "content-type": "application/json",
        "accept": "application/json",
        "user-agent": "bench",
        "content-length": str(len(content)),
        **({"authorization": f"Bearer {key}"} if key is not None else {}),
        **headers,
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


class Conversation(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._parts: list[bytes] = []
        self._missing: int | None = None  # bytes until a sized answer is complete; None for a chunked one
        self._headed = False
        self._mark = b""
        self.first_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"connection lost: {exc}")

    def _fail(self, text: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(BadAnswer(f"{text}; so far: {b''.join(self._parts)[:600]!r}"))

    def ask(self, asked: Request) -> asyncio.Future[bytes]:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._parts, self._missing, self._headed, self._mark, self.first_ns = [], None, False, asked.mark, 0
        self._transport.write(asked.wire)
        return self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        body = data
        if not self._headed:
            joined = b"".join(self._parts)
            end = joined.find(b"\r\n\r\n")
            if end < 0:
                return
            self._headed = True
            length = joined[: end + 2].lower().find(b"\r\ncontent-length:")
            if length >= 0:
                size = int(joined[length + 17 : joined.find(b"\r\n", length + 2)])
                self._missing = end + 4 + size - len(joined)
            body = joined[end + 4 :]
        elif self._missing is not None:
            self._missing -= len(data)
        if not self.first_ns and body and self._mark in body:
            self.first_ns = time.perf_counter_ns()
        complete = self._missing <= 0 if self._missing is not None else self._ended()
        if complete and self._answer is not None and not self._answer.done():
            self._answer.set_result(b"".join(self._parts))

    def _ended(self) -> bool:
        tail = self._parts[-1]
        if len(tail) < 5 and len(self._parts) > 1:
            tail = self._parts[-2][-5:] + tail
        return tail.endswith(b"0\r\n\r\n")


def check(asked: Request, answer: bytes) -> None:
    """Raises BadAnswer unless it is the whole answer of the upstream, with its usage."""
    usage = f'"completion_tokens":{CHUNKS}'.encode()
    good = answer.startswith(b"HTTP/1.1 200") and usage in answer.replace(b'": ', b'":')
    if good and asked.streamed:
        good = b"data: [DONE]" in answer and answer.count(b"data: {") >= CHUNKS
    if not good:
        raise BadAnswer(answer[:1500].decode(errors="replace"))


async def connect(port: int) -> Conversation:
    _, conversation = await asyncio.get_running_loop().create_connection(Conversation, "127.0.0.1", port)
    return conversation


async def _answered(conversation: Conversation, asked: Request, load: Load) -> None:
    sent = time.perf_counter_ns()
    answer = await conversation.ask(asked)
    done = time.perf_counter_ns()
    load.total.append(done - sent)
    if asked.streamed:
        load.first.append(conversation.first_ns - sent)
    check(asked, answer)


async def _worker(port: int, asked: Request, until: float, load: Load) -> None:
    conversation = await connect(port)
    try:
        while time.perf_counter() < until:
            await _answered(conversation, asked, load)
    finally:
        conversation.close()


async def _in_a_row(conversation: Conversation, asked: Request, count: int, load: Load) -> None:
    for _ in range(count):
        await _answered(conversation, asked, load)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without a garbage collection of the client's own in the midst of it."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def drive(port: int, asked: Request, *, concurrency: int, seconds: float) -> Load:
    """Ask over and over on `concurrency` connections for `seconds`; requests under way are finished.

    Raises: BadAnswer, TimeoutError (an answer did not come within GIVE_UP_S).
    """
    load = Load()
    with uncollected():
        began = time.perf_counter()
        async with asyncio.timeout(seconds + GIVE_UP_S), asyncio.TaskGroup() as workers:
            for _ in range(concurrency):
                workers.create_task(_worker(port, asked, began + seconds, load))
    load.seconds = time.perf_counter() - began
    return load


async def take_turn(conversations: Sequence[Conversation], asked: Request, *, in_a_row: int, load: Load) -> None:
    """Ask `in_a_row` times on each of the open connections, all of them at once; adds to the load.

    Raises: BadAnswer, TimeoutError (the turn did not end within GIVE_UP_S).
    """
    began = time.perf_counter()
    async with asyncio.timeout(GIVE_UP_S), asyncio.TaskGroup() as workers:
        for conversation in conversations:
            workers.create_task(_in_a_row(conversation, asked, in_a_row, load))
    load.seconds += time.perf_counter() - began


async def once(port: int, asked: Request) -> None:
    """One request. Raises: BadAnswer, OSError (nobody listens), TimeoutError."""
    conversation = await connect(port)
    try:
        async with asyncio.timeout(GIVE_UP_S):
            check(asked, await conversation.ask(asked))
    finally:
        conversation.close()
