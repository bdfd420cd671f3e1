"""Over TLS, as targets are reached in production: the same promises hold."""

import ssl
import threading
from pathlib import Path

import pytest

from chalicelib.call import Delta, Finished
from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.pool import OpenAICompatible
from chalicelib.refusal import EngineFailed
from chalicelib.settings import Settings
from tests.engines.answers import STREAM, chat, event, said
from tests.engines.openai_server import NEVER_IDLE
from tests.engines.servers import (
    LAST_CHUNK,
    Request,
    Server,
    Wire,
    always,
    chunk,
    serving,
    stream_head,
)
from tests.patience import PATIENCE_S


def context(certificate: Path) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    return tls


def target(server: Server) -> OpenAICompatible:
    return OpenAICompatible("gpu-1", url=f"{server.root}/v1")


def test_connections_are_kept(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(always(stream_head() + chunk(STREAM) + LAST_CHUNK), context(certificate)) as server:
        engine = OpenAICompatibleEngine(Settings())
        for _ in range(3):
            stream = engine.open(target(server), chat(stream=True))
            assert isinstance(list(stream)[-1], Finished)
            stream.close()
        assert (len(server.requests), server.connections) == (3, 1)


def test_closing_from_another_thread_wakes_the_reader(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server_saw_it = threading.Event()

    def hangs(_: Request, wire: Wire) -> None:
        wire.send(stream_head(), chunk(event(said("Hello"))))
        if wire.await_departure():
            server_saw_it.set()

    with serving(hangs, context(certificate)) as server:
        stream = OpenAICompatibleEngine(NEVER_IDLE).open(target(server), chat(stream=True))
        halfway = threading.Event()
        woken = threading.Event()

        def read() -> None:
            with pytest.raises(EngineFailed):
                for each in stream:
                    if isinstance(each, Delta):
                        halfway.set()
            woken.set()

        threading.Thread(target=read, daemon=True).start()
        assert halfway.wait(PATIENCE_S)
        stream.close()
        assert woken.wait(PATIENCE_S)
        assert server_saw_it.wait(PATIENCE_S)


def test_a_certificate_that_nobody_vouches_for_is_a_failed_engine(certificate: Path) -> None:
    with serving(always(b""), context(certificate)) as server:
        with pytest.raises(EngineFailed):
            OpenAICompatibleEngine(Settings()).open(target(server), chat())
        assert server.requests == []
