"""The way out of an enclave: from a loopback port to the parent and back, without reading what goes by."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from enclave.forwarder import Route, forward
from tests.enclave.houses import ROOT

ALONE = ["unshare", "--user", "--net", "--map-root-user"]


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


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode != 0,
    reason="this machine gives no network namespaces",
)
def test_where_there_is_no_network_kms_and_imds_are_on_the_loopback(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    command = [*ALONE, sys.executable, "-m", "tests.enclave.without_network", str(hosts)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "http://127.0.0.1:1338\n"
    assert hosts.read_text() == "127.0.1.1 kms.us-east-1.amazonaws.com\n127.0.1.2 kms.eu-west-1.amazonaws.com\n"


def _send(near: socket.socket, sent: bytes) -> None:
    near.sendall(sent)
    near.shutdown(socket.SHUT_WR)
