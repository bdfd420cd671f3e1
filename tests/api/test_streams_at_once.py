"""Streams need no thread: more of them than there are run at once, and none keeps the others from anything."""

import asyncio
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chalicelib import wiring
from chalicelib.admission import Lease
from chalicelib.admission.limits import Limits
from chalicelib.admission.memory import MemoryMeters
from chalicelib.call import Delta, Started
from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.engines.scripted import Step, whole, words
from chalicelib.http.capacity import Bounds
from chalicelib.http.pump import TAKEN_BYTES
from chalicelib.http.silence import Gaps
from chalicelib.inference.answer import CLIENT_LEFT
from chalicelib.pool import OpenAICompatible, Pool
from chalicelib.settings import Settings
from tests.api.test_leaving import CHAT, CHATS, CHUNK, ENDLESS, Client, Front, eventually, play
from tests.engines.answers import STREAM, event, said
from tests.engines.openai_server import NEVER_IDLE, SEVENS
from tests.engines.servers import LAST_CHUNK, Request, Wire, chunk, serving, stream_head
from tests.engines.test_tls import context
from tests.patience import PATIENCE_S
from tests.small_deployments import Answer, Store, memory, served

THREADS = 4
STREAMS = 300

SAID = words("one two three")
NEVER = Gaps(10 * PATIENCE_S, 10 * PATIENCE_S)
BEGUN, REST = SAID[:2], SAID[2:]


class HeldMeters(MemoryMeters):
    """Their store does not answer a renewal before it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = threading.Event()
        self.renewing = 0

    def renew(self, lease: Lease) -> bool:
        self.renewing += 1
        assert self.let.wait(PATIENCE_S)
        return super().renew(lease)


def front(*script: Step, store: Store | None = None) -> Front:
    """Few threads, and a tenant who may have as many requests running as they like."""
    return Front(
        *script,
        store=store,
        limits=Limits((), (), in_flight=2 * STREAMS),
        bounds=Bounds(threads=THREADS),
        patience=ENDLESS,
        gaps=NEVER,
    )


def reasons(front: Front) -> list[str]:
    return [entry.reason for entry in front.entries]


@contextmanager
def tracing() -> Iterator[Callable[[], int]]:
    """How many bytes are held that were not when it began."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


async def have_begun(streams: Iterable[Client]) -> None:
    """Each has the first word of the answer."""
    for stream in streams:
        await stream.until(partial(_has_begun, stream))


def _has_begun(stream: Client) -> bool:
    return b"one" in stream.body


def test_more_streams_than_threads_begin_at_once_and_keep_nobody_waiting() -> None:
    gate = threading.Event()
    many = front(*BEGUN, gate, *REST)

    async def scene() -> None:
        streams = [Client(many) for _ in range(STREAMS)]
        await have_begun(streams)
        assert many.deployment.engine.running == STREAMS
        many.scripts[:] = [whole("at once")]
        unary = Client(many, stream=False)
        await unary.exchange
        assert b"at once" in unary.body
        gate.set()
        await asyncio.gather(*(stream.exchange for stream in streams))
        assert {stream.body.endswith(b"data: [DONE]\n\n") for stream in streams} == {True}
        assert len({stream.body for stream in streams}) == 1

    play(many, scene)
    assert reasons(many) == [""] * (STREAMS + 1)


def test_a_renewal_that_hangs_holds_up_neither_its_stream_nor_the_loop() -> None:
    first, second = threading.Event(), threading.Event()
    meters = HeldMeters()
    many = front(*BEGUN, first, Delta(CHUNK, 1), second, *REST, store=msgspec.structs.replace(memory(), meters=meters))

    async def scene() -> None:
        stream = Client(many)
        await stream.until(lambda: b"one" in stream.body)
        many.deployment.clock.now_ms += Settings().renew_ms
        first.set()
        await stream.until(lambda: CHUNK in stream.body)
        await eventually(lambda: meters.renewing == 1)
        second.set()
        await stream.until(lambda: b"three" in stream.body)
        assert meters.renewing == 1
        meters.let.set()
        await stream.exchange

    play(many, scene)


def test_a_slow_reader_holds_its_engine_back() -> None:
    large = Delta(b'"' + b"x" * (TAKEN_BYTES // 2) + b'"', 1)
    gate = threading.Event()
    many = front(Started("i"), Delta(CHUNK, 1), gate, *[large] * 20, threading.Event())

    async def scene() -> None:
        stream = Client(many)
        await stream.until(lambda: CHUNK in stream.body)
        stream.reading.clear()
        gate.set()
        await stream.until(lambda: len(stream.body) > TAKEN_BYTES)
        assert len(stream.body) < 2 * TAKEN_BYTES
        stream.leave()
        stream.reading.set()
        await stream.exchange

    play(many, scene)
    assert reasons(many) == [CLIENT_LEFT]


@pytest.mark.parametrize("leaves", ["the client", "the server"])
def test_who_leaves_many_streams_leaves_nothing_behind(leaves: str) -> None:
    many = front(*BEGUN, threading.Event())

    async def scene() -> None:
        streams = [Client(many) for _ in range(10 * THREADS)]
        await have_begun(streams)
        for stream in streams:
            stream.leave() if leaves == "the client" else stream.exchange.cancel()
        await asyncio.wait([stream.exchange for stream in streams])
        assert not any(stream.ended for stream in streams)

    play(many, scene)
    assert reasons(many) == [CLIENT_LEFT] * 10 * THREADS


def served_by(url: str) -> Front:
    """Whose model runs on a server."""
    made = front()
    made.deployment.engines = {"openai_compatible": OpenAICompatibleEngine(NEVER_IDLE)}
    made.deployment.tenancy.put_pool(Pool("model-a", (OpenAICompatible("gpu-1", url=f"{url}/v1"),)))
    return made


@pytest.mark.parametrize("spoken", ["plain", "tls"])
def test_so_it_is_with_servers(spoken: str, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    gate = threading.Event()

    def answers(_: Request, wire: Wire) -> None:
        wire.send(stream_head(), chunk(event(said("one"))))
        assert gate.wait(PATIENCE_S)
        wire.send(*(chunk(each) for each in SEVENS), LAST_CHUNK)

    with serving(answers, context(certificate) if spoken == "tls" else None) as upstream:
        many = served_by(upstream.root)

        async def scene() -> None:
            streams = [Client(many) for _ in range(10 * THREADS)]
            await have_begun(streams)
            gate.set()
            await asyncio.gather(*(stream.exchange for stream in streams))
            assert {stream.body.endswith(b"data: [DONE]\n\n") for stream in streams} == {True}
            again = Client(many)
            await again.exchange
            assert upstream.connections == 10 * THREADS  # they are kept

        play(many, scene)
    assert reasons(many) == [""] * (10 * THREADS + 1)


def test_a_slow_reader_of_a_connection_holds_its_server_back_and_gets_all_in_the_end() -> None:
    large = said("x" * 100_000)
    pieces = 400  # far more than the kernel holds of two connections
    sent = {"slow": 0, "quick": 0}

    def answers(request: Request, wire: Wire) -> None:
        who = "slow" if b'"slow"' in request.body else "quick"
        wire.send(stream_head())
        for _ in range(pieces):
            wire.send(chunk(event(large)))
            sent[who] += 1
        wire.send(chunk(STREAM), LAST_CHUNK)

    with serving(answers) as upstream:
        many = served_by(upstream.root)
        with wiring.opening_into(many.deployment.rooms()), served(many.bridge) as gateway, socket.socket() as slow:

            def asked(by: str) -> Answer:
                return gateway.call("POST", CHATS, key=many.key, json={**CHAT, "stream": True, "user": by})

            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.settimeout(PATIENCE_S)
            slow.connect((gateway.host, gateway.port))
            body = msgspec.json.encode({**CHAT, "stream": True, "user": "slow"})
            lines = [f"POST {CHATS} HTTP/1.1", "host: a", f"authorization: Bearer {many.key}", "connection: close"]
            head = "\r\n".join([*lines, "content-type: application/json", f"content-length: {len(body)}", "", ""])
            slow.sendall(head.encode() + body)
            begun = slow.recv(1)
            # All of it comes through the same loop, while most of the other does not.
            assert asked("quick").body.count(large) == sent["quick"] == pieces
            assert sent["slow"] < pieces
            whole = begun + b"".join(iter(partial(slow.recv, 1 << 20), b""))
        assert whole.startswith(b"HTTP/1.1 200 ") and whole.endswith(b"\r\n0\r\n\r\n")
        assert whole.count(b"data: [DONE]\n\n") == 1 and whole.count(b"x") >= pieces * 100_000
    assert reasons(many) == ["", ""]


def test_a_slow_reader_holds_its_server_back() -> None:
    large = chunk(event(said("x" * 100_000)))
    pieces = 120
    sent = {"slow": 0, "quick": 0}

    def answers(request: Request, wire: Wire) -> None:
        who = "slow" if b'"slow"' in request.body else "quick"
        for _ in range(pieces):
            wire.send(large)
            sent[who] += 1
        wire.send(chunk(STREAM), LAST_CHUNK)

    def begins(request: Request, wire: Wire) -> None:
        wire.send(stream_head())
        answers(request, wire)

    with serving(begins) as upstream:
        many = served_by(upstream.root)

        async def scene() -> None:
            slow = Client(many, body={**CHAT, "user": "slow"})
            slow.reading.clear()
            await slow.until(lambda: slow.status == 200)
            quick = Client(many, body={**CHAT, "user": "quick"})
            await quick.exchange  # all of it came through the same loop, while nothing of the other did
            assert sent["quick"] == pieces
            assert sent["slow"] < pieces
            slow.leave()
            slow.reading.set()
            await slow.exchange

        play(many, scene)
    assert sorted(reasons(many)) == ["", CLIENT_LEFT]


@pytest.mark.parametrize("path", [CHATS, "/tenants/acme/v1/completions"])
def test_a_stream_does_not_keep_what_was_asked_in_memory(path: str) -> None:
    gate, size, count = threading.Event(), 1_000_000, 4
    many = front(*BEGUN, gate, *REST)
    large = {"model": "model-a", "user": "x" * size} | ({"prompt": "hi"} if path != CHATS else CHAT)

    async def begun(body: Mapping[str, Any]) -> Client:
        stream = Client(many, path=path, body=body)
        await stream.until(partial(_has_begun, stream))
        stream.forget_what_it_sent()
        return stream

    async def scene() -> None:
        streams = [await begun(large)]  # what is loaded for it
        with tracing() as held:
            streams += [await begun(large) for _ in range(count)]
            await eventually(lambda: held() < size)  # of all together
        gate.set()
        await asyncio.gather(*(stream.exchange for stream in streams))

    play(many, scene)
    assert reasons(many) == [""] * (count + 1)
