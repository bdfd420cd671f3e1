"""Connections: kept where they can be, cut where they must be, from any thread."""

import threading
from collections.abc import Callable

import pytest

from chalicelib.call import Call, Finished
from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.pool import OpenAICompatible
from chalicelib.refusal import EngineFailed, Malformed
from tests.engines.answers import STREAM, WHOLE, chat, event, said
from tests.engines.openai_server import KNOWN_LENGTH, NEVER_IDLE, WHOLE_STREAM, engine_for
from tests.engines.servers import (
    LAST_CHUNK,
    Request,
    Wire,
    always,
    answer_then_hang_up,
    chunk,
    head,
    stream_head,
    whole,
)
from tests.patience import PATIENCE_S


def read_to_the_end(engine: OpenAICompatibleEngine, target: OpenAICompatible, call: Call) -> None:
    stream = engine.open(target, call)
    assert isinstance(list(stream)[-1], Finished)
    stream.close()


def take_until_finished(engine: OpenAICompatibleEngine, target: OpenAICompatible, call: Call) -> None:
    """As the path does: `Finished` is the last event that anybody asks for."""
    stream = engine.open(target, call)
    for each in stream:
        if isinstance(each, Finished):
            break
    stream.close()


@pytest.mark.parametrize("reader", [read_to_the_end, take_until_finished])
@pytest.mark.parametrize(
    ("answer", "stream"),
    [
        (whole(WHOLE), False),
        (stream_head() + chunk(WHOLE) + LAST_CHUNK, False),
        (WHOLE_STREAM, True),
        (KNOWN_LENGTH + STREAM, True),
    ],
)
def test_a_connection_serves_one_call_after_the_other(
    answer: bytes, stream: bool, reader: Callable[[OpenAICompatibleEngine, OpenAICompatible, Call], None]
) -> None:
    with engine_for(always(answer)) as (engine, target, server):
        for _ in range(5):
            reader(engine, target, chat(stream=stream))
        assert (len(server.requests), server.connections) == (5, 1)


def test_a_connection_survives_a_refusal() -> None:
    with engine_for(always(whole(b'{"error":{"message":"no"}}', 400))) as (engine, target, server):
        for _ in range(3):
            with pytest.raises(Malformed):
                engine.open(target, chat())
        assert server.connections == 1


def test_a_connection_that_the_server_closed_while_idle_costs_nobody_a_failure() -> None:
    def answers_once(request: Request, wire: Wire) -> None:
        if len(server.requests) == 2:  # what a server does whose keep-alive ran out as the request was on its way
            wire.hang_up()
        else:
            wire.send(whole(WHOLE))

    with engine_for(answers_once) as (engine, target, server):
        read_to_the_end(engine, target, chat())
        read_to_the_end(engine, target, chat())
        assert (len(server.requests), server.connections) == (3, 2)


def test_a_server_that_dies_of_a_request_gets_it_once() -> None:
    with engine_for(answer_then_hang_up()) as (engine, target, server):
        with pytest.raises(EngineFailed):
            engine.open(target, chat())
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(stream_head() + chunk(event(said("Hello"))), id="between chunks"),
        pytest.param(stream_head() + chunk(event(said("Hello"))) + b"10\r\nhalf", id="within a chunk"),
        pytest.param(head(content_type="text/event-stream") + event(said("Hello")), id="until the connection closes"),
    ],
)
def test_closing_from_another_thread_wakes_the_reader_and_tells_the_server(answer: bytes) -> None:
    server_saw_it = threading.Event()

    def hangs(_: Request, wire: Wire) -> None:
        wire.send(answer)
        if wire.await_departure():
            server_saw_it.set()

    with engine_for(hangs, NEVER_IDLE) as (engine, target, server):
        stream = engine.open(target, chat(stream=True))
        told: list[object] = []
        halfway = threading.Event()
        woken = threading.Event()

        def read() -> None:
            try:
                for each in stream:
                    told.append(each)
                    if len(told) == 2:
                        halfway.set()
            except EngineFailed as refusal:
                told.append(refusal)
            woken.set()

        threading.Thread(target=read, daemon=True).start()
        assert halfway.wait(PATIENCE_S)
        stream.close()
        assert woken.wait(PATIENCE_S)
        assert server_saw_it.wait(PATIENCE_S)
        stream.close()
        assert isinstance(told[-1], EngineFailed)

        server.handler = always(whole(WHOLE))
        read_to_the_end(engine, target, chat())  # the engine is none the worse
        assert server.connections == 2


def test_a_server_that_keeps_the_body_open_behind_done_does_not_hold_the_answer() -> None:
    with engine_for(always(stream_head(), chunk(STREAM)), NEVER_IDLE) as (engine, target, server):
        for _ in range(2):
            reader = threading.Thread(target=read_to_the_end, args=(engine, target, chat(stream=True)), daemon=True)
            reader.start()
            reader.join(PATIENCE_S)
            assert not reader.is_alive()
        assert server.connections == 2


def test_many_threads_share_an_engine() -> None:
    with engine_for(always(WHOLE_STREAM)) as (engine, target, server):
        failures: list[Exception] = []

        def work() -> None:
            try:
                for _ in range(20):
                    read_to_the_end(engine, target, chat(stream=True))
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(server.requests) == 320
        assert server.connections <= 16
