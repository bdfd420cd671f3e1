"""A real HTTP proxy that breaks what it is told to break, in front of a served store."""

import http.client
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


class FaultProxy:
    """Calls take the planned faults in order; when none is planned, `always`."""

    def __init__(self, url: str) -> None:
        self._upstream = urlsplit(url)
        self._planned: deque[Fault] = deque()
        self.always = Fault.NONE
        self.seen: list[str] = []  # the operations that arrived
        self.closing = threading.Event()

    def plan(self, *faults: Fault) -> None:
        self._planned.extend(faults)

    def next_fault(self) -> Fault:
        try:
            return self._planned.popleft()
        except IndexError:
            return self.always

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
            proxy.seen.append(self.headers["X-Amz-Target"].rpartition(".")[2])
            fault = proxy.next_fault()
            if fault is Fault.ERROR_500:
                return self._answer(500, [], b'{"__type":"InternalServerError","message":"planned"}')
            if fault is Fault.THROTTLED:
                return self._answer(400, [], b'{"__type":"ThrottlingException","message":"planned"}')
            if fault is not Fault.SILENT:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                status, answered, answer = proxy.forward(self.path, headers, body)
                if fault is Fault.NONE:
                    return self._answer(status, answered, answer)
            if fault is not Fault.LOST:
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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        proxy.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
