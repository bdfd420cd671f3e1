"""Streams need no thread: more of them than there are run at once, and none keeps the others from anything."""

import asyncio
import threading
from collections.abc import Iterable
from functools import partial

import msgspec
import pytest

from chalicelib.admission import Lease
from chalicelib.admission.limits import Limits
from chalicelib.admission.memory import MemoryMeters
from chalicelib.call import Delta, Started
from chalicelib.engines.scripted import Step, whole, words
from chalicelib.http.pump import TAKEN_BYTES
from chalicelib.inference.answer import CLIENT_LEFT
from chalicelib.settings import Settings
from tests.api.test_leaving import CHUNK, Client, Front, eventually, play
from tests.patience import PATIENCE_S
from tests.small_deployments import Store, memory

THREADS = 4
STREAMS = 300

SAID = words("one two three")
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
    return Front(*script, store=store, limits=Limits((), (), in_flight=2 * STREAMS), threads=THREADS)


def reasons(front: Front) -> list[str]:
    return [entry.reason for entry in front.entries]


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
