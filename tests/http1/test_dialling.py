"""Nobody waits for a connection for longer than was said, however many addresses a name has, and whoever keeps them."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from chalicelib.http1.dialling import Address, Names, first_to_answer
from chalicelib.http1.failure import Unreachable
from tests.patience import PATIENCE_S

WITHIN_S = 0.4
TOO_LONG_S = 60.0


class Resolver:
    """Answers when a test says so."""

    def __init__(self, *found: Address) -> None:
        self.found = found
        self.gate = threading.Event()
        self.asked = 0

    def __call__(self, name: str, port: int) -> tuple[Address, ...]:
        self.asked += 1
        assert self.gate.wait(PATIENCE_S)
        if not self.found:
            raise socket.gaierror
        return self.found


def address_of(listener: socket.socket) -> Address:
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", listener.getsockname())


@pytest.fixture
def deaf() -> Iterator[Address]:
    """Where nobody takes a connection, and nobody refuses one."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for _ in range(8):
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
            waiting.append(each)
        yield address_of(listener)
        for each in waiting:
            each.close()


def test_a_name_that_nobody_resolves_is_waited_for_as_long_as_was_said_and_by_one_thread() -> None:
    resolver = Resolver()
    names = Names(resolver)
    for _ in range(3):
        with pytest.raises(Unreachable, match="in time"):
            names.addresses("gpu-1.example", 443, 0.01)
    assert resolver.asked == 1
    resolver.gate.set()


def test_who_asks_meanwhile_hears_the_same_and_who_asks_later_asks_again() -> None:
    there = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("192.0.2.1", 443))
    resolver = Resolver(there)
    names = Names(resolver)
    with pytest.raises(Unreachable):
        names.addresses("gpu-1.example", 443, 0.01)
    threading.Timer(0.01, resolver.gate.set).start()
    assert names.addresses("gpu-1.example", 443, PATIENCE_S) == (there,)
    assert names.addresses("gpu-1.example", 443, PATIENCE_S) == (there,)
    assert resolver.asked == 2


def test_a_name_that_does_not_exist_is_unreachable() -> None:
    resolver = Resolver()
    resolver.gate.set()
    with pytest.raises(Unreachable, match=r"^name not resolved$"):
        Names(resolver).addresses("gpu-1.example", 443, PATIENCE_S)


def test_many_addresses_that_keep_silent_take_no_longer_than_one(deaf: Address) -> None:
    began_s = time.monotonic()
    with pytest.raises(Unreachable):
        first_to_answer([deaf] * 500, began_s + WITHIN_S)
    assert time.monotonic() - began_s < TOO_LONG_S


def test_one_that_keeps_silent_leaves_time_for_the_others(deaf: Address) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = first_to_answer([deaf, address_of(listener)], time.monotonic() + WITHIN_S)
        assert found.getpeername() == listener.getsockname()
        found.close()
