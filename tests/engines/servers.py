"""A real HTTP server on a loopback socket whose every byte a test decides."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.patience import PATIENCE_S


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]  # by lower-case name
    body: bytes


class Wire:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._connection.sendall(piece)

    def await_departure(self) -> bool:
        """Whether the client hung up, waiting for it."""
        self._connection.settimeout(PATIENCE_S)
        try:
            return self._connection.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True
        except TimeoutError:
            return False

    def stop_sending(self) -> None:
        """The client's next read finds the end; we still see when it hangs up."""
        self._connection.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


Handler = Callable[[Request, Wire], None]


class Server:
    """Answers each request by `handler`, on as many connections as are opened."""

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self._tls = tls
        self.requests: list[Request] = []
        self.connections = 0
        self._wires: list[Wire] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def root(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for wire in self._wires:
            wire.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                try:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                except ssl.SSLError:  # the client does not trust us
                    continue
            self.connections += 1
            wire = Wire(connection)
            self._wires.append(wire)
            threading.Thread(target=self._serve, args=(connection, wire), daemon=True).start()

    def _serve(self, connection: socket.socket, wire: Wire) -> None:
        with contextlib.suppress(OSError):
            for request in _requests(connection):
                self.requests.append(request)
                self.handler(request, wire)


def _requests(connection: socket.socket) -> Iterator[Request]:
    buffered = b""
    while True:
        while b"\r\n\r\n" not in buffered:
            data = connection.recv(65536)
            if not data:
                return
            buffered += data
        head, _, buffered = buffered.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(buffered) < length:
            buffered += connection.recv(65536)
        body, buffered = buffered[:length], buffered[length:]
        yield Request(method, path, headers, body)


@contextlib.contextmanager
def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(handler, tls)
    try:
        yield server
    finally:
        server.close()


def head(status: int = 200, /, **headers: str) -> bytes:
    """A response's head; `content_type=` is the header `content-type`."""
    lines = [f"HTTP/1.1 {status} whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def whole(body: bytes, status: int = 200, /, content_type: str = "application/json", **headers: str) -> bytes:
    return head(status, content_type=content_type, content_length=str(len(body)), **headers) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def stream_head(**headers: str) -> bytes:
    return head(content_type="text/event-stream; charset=utf-8", transfer_encoding="chunked", **headers)


def always(*answer: bytes) -> Handler:
    return lambda request, wire: wire.send(*answer)


def answer_then_hang_up(*answer: bytes) -> Handler:
    def handler(_: Request, wire: Wire) -> None:
        wire.send(*answer)
        wire.hang_up()

    return handler
