"""A real HTTP proxy that breaks what it is told to break, in front of a served store."""

import http.client
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
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
    STALLED = "pass it on when the stall ends, whoever still waits for the answer"


class FaultProxy:
    """Calls take the planned faults in order; when none is planned, `always`."""

    def __init__(self, url: str) -> None:
        self._upstream = urlsplit(url)
        self._planned: deque[Fault] = deque()
        self.always = Fault.NONE
        self.one_at_a_time = False  # pass calls on in the order in which they came, each when the one before is done
        self.seen: list[str] = []  # the operations that arrived
        self.under_way = 0  # of these
        self.closing = threading.Event()
        self.resumed = threading.Event()  # set: stalls are over
        self._counting = threading.Lock()
        self._queue: deque[threading.Event] = deque()  # the first is whose turn it is

    def plan(self, *faults: Fault) -> None:
        self._planned.extend(faults)

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

    def pass_on(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        with self._turn() if self.one_at_a_time else nullcontext():
            return self._forward(path, headers, body)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        ours = threading.Event()
        with self._counting:
            self._queue.append(ours)
            self._queue[0].set()
        ours.wait()
        try:
            yield
        finally:
            with self._counting:
                self._queue.popleft()
                if self._queue:
                    self._queue[0].set()

    def _forward(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
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
            if fault is Fault.STALLED:
                proxy.resumed.wait(PATIENCE_S)
                fault = Fault.NONE
            if fault is not Fault.SILENT:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                status, answered, answer = proxy.pass_on(self.path, headers, body)
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
            with suppress(ConnectionError):  # by whoever gave up
                self.end_headers()
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
