"""The way out of an enclave: from a loopback port to the parent and back, without reading what goes by."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from enclave.forwarder import Route, forward


@pytest.fixture
def parent() -> Iterator[socket.socket]:
    """Stands for the parent's vsock-proxy: echoes in capitals until it is told that no more comes, then says bye."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                accepted, _ = listening.accept()
            except OSError:
                return
            with accepted:
                while piece := accepted.recv(65_536):
                    accepted.sendall(piece.upper())
                accepted.sendall(b"bye")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listening
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def test_bytes_and_ends_are_carried_both_ways(parent: socket.socket) -> None:
    asked: list[int] = []

    def connect(port: int) -> socket.socket:
        asked.append(port)
        return socket.create_connection(parent.getsockname())

    with forward(Route(("127.0.0.1", 0), 8001), connect) as here:
        for _ in range(2):
            with socket.create_connection(here.getsockname()) as near:
                sent = os.urandom(500_000).hex().encode()
                writer = threading.Thread(target=_send, args=(near, sent))
                writer.start()
                received = b"".join(iter(lambda: near.recv(65_536), b""))
                writer.join()
            assert received == sent.upper() + b"bye"
        here.shutdown(socket.SHUT_RDWR)
    assert asked == [8001, 8001]


def test_a_parent_that_does_not_answer_closes_only_this_connection(parent: socket.socket) -> None:
    answers: list[OSError | None] = [ConnectionRefusedError(), None]

    def connect(_: int) -> socket.socket:
        if (failure := answers.pop(0)) is not None:
            raise failure
        return socket.create_connection(parent.getsockname())

    with forward(Route(("127.0.0.1", 0), 8001), connect) as here:
        with socket.create_connection(here.getsockname()) as near:
            assert near.recv(1) == b""
        with socket.create_connection(here.getsockname()) as near:
            near.sendall(b"hello")
            assert near.recv(5) == b"HELLO"
        here.shutdown(socket.SHUT_RDWR)


def _send(near: socket.socket, sent: bytes) -> None:
    near.sendall(sent)
    near.shutdown(socket.SHUT_WR)
