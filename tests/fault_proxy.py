"""A real HTTP proxy that breaks what it is told to break, in front of a served store."""

import http.client
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.patience import PATIENCE_S


class Fault(Enum):
    NONE = "pass the call on"
    ERROR_500 = "answer 500 without passing it on"
    THROTTLED = "answer that the table is throttled"
    SILENT = "never answer, without passing it on"
    LOST = "pass it on, then drop the connection instead of answering"
    LOST_SILENT = "pass it on, then never answer"
    LATE = "drop the connection, and pass it on when the stall ends"


class FaultProxy:
    """Calls take the planned faults in order; when none is planned, `always`."""

    def __init__(self, url: str) -> None:
        self._upstream = urlsplit(url)
        self._planned: deque[Fault] = deque()
        self.always = Fault.NONE
        self.seen: list[str] = []  # the operations that arrived
        self.under_way = 0  # of these
        self.closing = threading.Event()
        self.resumed = threading.Event()  # set: stalls are over
        self._counting = threading.Lock()

    def plan(self, *faults: Fault) -> None:
        self._planned.extend(faults)

    def break_no_more(self) -> None:
        self._planned.clear()
        self.always = Fault.NONE

    def heal(self) -> None:
        """From now on nothing breaks, and what was kept is passed on."""
        self.break_no_more()
        self.resumed.set()

    def next_fault(self) -> Fault:
        try:
            return self._planned.popleft()
        except IndexError:
            return self.always

    @contextmanager
    def arrived(self, operation: str) -> Iterator[None]:
        with self._counting:
            self.seen.append(operation)
            self.under_way += 1
        try:
            yield
        finally:
            with self._counting:
                self.under_way -= 1

    def forward(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=PATIENCE_S)
        try:
            upstream.request("POST", path, body, headers)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()


@contextmanager
def fault_proxy(url: str) -> Iterator[tuple[FaultProxy, str]]:
    """A proxy in front of `url`, and its own URL."""
    proxy = FaultProxy(url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with proxy.arrived(self.headers["X-Amz-Target"].rpartition(".")[2]):
                self._handle(body)

        def _handle(self, body: bytes) -> None:
            fault = proxy.next_fault()
            if fault is Fault.ERROR_500:
                return self._answer(500, [], b'{"__type":"InternalServerError","message":"planned"}')
            if fault is Fault.THROTTLED:
                return self._answer(400, [], b'{"__type":"ThrottlingException","message":"planned"}')
            if fault is Fault.LATE:
                self.connection.shutdown(socket.SHUT_RDWR)
                proxy.resumed.wait(PATIENCE_S)
            if fault is not Fault.SILENT:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                status, answered, answer = proxy.forward(self.path, headers, body)
                if fault is Fault.NONE:
                    return self._answer(status, answered, answer)
            if fault not in (Fault.LOST, Fault.LATE):
                proxy.closing.wait(PATIENCE_S)
            self.close_connection = True
            return None

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        request_queue_size = 512  # as many callers at once as a test may have

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        proxy.closing.set()
        proxy.resumed.set()
        server.shutdown()
        thread.join()
        server.server_close()
