"""Whom nobody waits for longer than was said: who keeps silent, falls silent, drips, or does not end."""

import threading
from collections.abc import Callable

import pytest

from chalicelib.http1.failure import Silent
from chalicelib.http1.server import Patience
from tests.engines.servers import Request, Wire, always, chunk, stream_head
from tests.http1.arrange import ask, asking
from tests.patience import PATIENCE_S

HASTY = Patience(connect_s=60, silence_s=0.2)


@pytest.mark.parametrize("wire", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_who_keeps_silent_is_not_waited_for_longer_than_was_said(wire: bytes) -> None:
    with asking(always(wire), HASTY) as (server, other):
        with pytest.raises(Silent):
            ask(server)
        assert len(other.requests) <= 1


def test_who_falls_silent_is_not_waited_for_longer_than_was_said() -> None:
    with asking(always(stream_head() + chunk(b"Hello")), HASTY) as (server, _), pytest.raises(Silent):
        ask(server).read(1_000_000)


def dripping(drop: bytes) -> Callable[[Request, Wire], None]:
    def drips(_: Request, wire: Wire) -> None:
        wire.send(stream_head() + chunk(b"Hello"))
        while not GONE.wait(HASTY.silence_s / 20):
            wire.send(drop)

    return drips


GONE = threading.Event()  # never set: a wire that was hung up ends its drip
NOTHING_OF_A_BODY = b"0"  # before the size of a chunk, as many as one likes


@pytest.mark.parametrize("drop", [NOTHING_OF_A_BODY, chunk(b"!")])
def test_who_drips_is_not_read_for_longer_than_was_said(drop: bytes) -> None:
    with asking(dripping(drop), HASTY) as (server, _), pytest.raises(Silent):
        ask(server).read(1_000_000)


def test_the_end_of_a_body_that_drips_is_not_waited_for() -> None:
    with asking(dripping(NOTHING_OF_A_BODY)) as (server, other):
        answer = ask(server)
        assert answer.next() == b"Hello"
        answer.finish()
        assert other.connections == 1


def test_a_body_that_does_not_end_is_not_waited_for() -> None:
    with asking(always(stream_head() + chunk(b"data: [DONE]\n\n"))) as (server, other):
        for _ in range(2):
            answer = ask(server)
            assert answer.next() == b"data: [DONE]\n\n"
            finisher = threading.Thread(target=answer.finish, daemon=True)
            finisher.start()
            finisher.join(PATIENCE_S)
            assert not finisher.is_alive()
        assert other.connections == 2
