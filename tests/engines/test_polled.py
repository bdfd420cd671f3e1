"""A stream that a loop polls says what a thread hears, and never waits."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from chalicelib.call import Finished, Pause
from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.pool import OpenAICompatible
from chalicelib.refusal import EngineFailed, EngineTimedOut
from chalicelib.settings import Settings
from tests.engines.answers import STREAM, chat, event, said
from tests.engines.loops import begun, polled, waited
from tests.engines.openai_server import IMPATIENT, KNOWN_LENGTH, NEVER_IDLE, PATIENT, SEVENS, WHOLE_STREAM
from tests.engines.servers import (
    LAST_CHUNK,
    Handler,
    Request,
    Server,
    Wire,
    always,
    answer_then_hang_up,
    chunk,
    head,
    serving,
    stream_head,
)
from tests.patience import PATIENCE_S

HALF = stream_head() + chunk(event(said("Hello")))


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext | None:
    """How servers speak."""
    if request.param == "plain":
        return None
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@contextmanager
def asking(
    handler: Handler, tls: ssl.SSLContext | None, settings: Settings = PATIENT
) -> Iterator[tuple[OpenAICompatibleEngine, OpenAICompatible, Server]]:
    with serving(handler, tls) as server:
        yield OpenAICompatibleEngine(settings), OpenAICompatible("gpu-1", url=f"{server.root}/v1"), server


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((WHOLE_STREAM,), id="at once"),
        pytest.param((stream_head(), *(chunk(each) for each in SEVENS), LAST_CHUNK), id="in pieces"),
        pytest.param(tuple(WHOLE_STREAM[at : at + 1] for at in range(len(WHOLE_STREAM))), id="byte by byte"),
        pytest.param((KNOWN_LENGTH, *SEVENS), id="of a known length"),
        pytest.param((stream_head(), chunk(event(said("x" * 300_000))), chunk(STREAM), LAST_CHUNK), id="large"),
    ],
)
def test_a_loop_hears_what_a_thread_hears_over_one_connection(
    answer: tuple[bytes, ...], tls: ssl.SSLContext | None
) -> None:
    with asking(always(*answer), tls) as (engine, target, server):
        for _ in range(3):
            heard = polled(engine.open(target, chat(stream=True)))
            assert heard == waited(engine.open(target, chat(stream=True)))
            assert isinstance(heard[-1], Finished)
        assert (len(server.requests), server.connections) == (6, 1)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(HALF, id="between chunks"),
        pytest.param(HALF + b"10\r\nhalf", id="within a chunk"),
        pytest.param(head(content_type="text/event-stream") + event(said("Hello")), id="without a length"),
        pytest.param(HALF + b"no chunk", id="with garbage"),
    ],
)
def test_a_stream_that_breaks_off_fails(answer: bytes, tls: ssl.SSLContext | None) -> None:
    with (
        asking(answer_then_hang_up(answer), tls) as (engine, target, _),
        pytest.raises(EngineFailed),
        closing(engine.open(target, chat(stream=True))) as stream,
    ):
        polled(stream)


@pytest.mark.parametrize("settings", [IMPATIENT, Settings(answer_deadline_ms=200)], ids=["silent", "too slow"])
def test_a_stream_that_keeps_silent_times_out(settings: Settings) -> None:
    with asking(always(HALF), None, settings) as (engine, target, _):
        stream = engine.open(target, chat(stream=True))
        with pytest.raises(EngineTimedOut):
            polled(stream)
        stream.close()


def test_nothing_waits_for_what_has_not_come() -> None:
    with asking(always(HALF), None, NEVER_IDLE) as (engine, target, _):
        stream = engine.open(target, chat(stream=True))
        source, events, _ = begun(stream)
        seen = [next(events) for _ in range(5)]
        assert seen[1:] == [Pause.LULL] * 4
        assert source.patience_s() > PATIENCE_S
        stream.close()


def test_closing_tells_the_server(tls: ssl.SSLContext | None) -> None:
    server_saw_it = threading.Event()

    def hangs(_: Request, wire: Wire) -> None:
        wire.send(HALF)
        if wire.await_departure():
            server_saw_it.set()

    with asking(hangs, tls, NEVER_IDLE) as (engine, target, _):
        stream = engine.open(target, chat(stream=True))
        _, events, _ = begun(stream)
        next(events)
        stream.close()
        assert server_saw_it.wait(PATIENCE_S)
        with pytest.raises(EngineFailed):
            list(events)
