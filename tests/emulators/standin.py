"""A container small enough to read in one go: what the local cloud is tested against.

What it answers is chosen by the JSON body: `{"do": …}`. Streams stop at a gate that the test opens, so that order
is proved by events and not by time.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any


class StandIn:
    """What the test sees of the container."""

    def __init__(self, room: int) -> None:
        self.room = room  # models that fit into memory
        self.loaded: dict[str, str] = {}  # name -> url
        self.requests: Queue[tuple[str, str, dict[str, str], bytes]] = Queue()
        self.calls: list[str] = []
        self.gate = threading.Semaphore(0)
        self.client_left = threading.Event()
        self.url = ""

    def forget(self) -> None:
        self.requests = Queue()
        self.calls.clear()
        self.gate = threading.Semaphore(0)
        self.client_left.clear()


@contextmanager
def container(room: int = 2) -> Iterator[StandIn]:
    stand_in = StandIn(room)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(stand_in))
    server.daemon_threads = True
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stand_in
    finally:
        for _ in range(100):
            stand_in.gate.release()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            stand_in.calls.append(f"POST {self.path}")
            stand_in.requests.put(("POST", self.path, headers, body))  # last: whoever waits for it reads the calls
            if self.path == "/models":
                self._load(json.loads(body))
            elif self.path.startswith("/models/") and self.path.split("/")[2] not in stand_in.loaded:
                self._answer(404, {"error": "no such model"})
            else:
                self._invoke(json.loads(body))

        def do_DELETE(self) -> None:
            name = self.path.split("/")[2]
            stand_in.calls.append(f"DELETE {self.path}")
            self._answer(200 if stand_in.loaded.pop(name, None) else 404, {})

        def _load(self, wanted: dict[str, str]) -> None:
            if wanted["model_name"] in stand_in.loaded:
                self._answer(409, {})
            elif len(stand_in.loaded) >= stand_in.room:
                self._answer(507, {"error": "memory is short"})
            else:
                stand_in.loaded[wanted["model_name"]] = wanted["url"]
                self._answer(200, {})

        def _invoke(self, request: dict[str, Any]) -> None:
            match request.get("do"):
                case "fail":
                    self._answer(request["status"], {"error": request["message"]})
                case "garbage":
                    self.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n")
                    self.close_connection = True
                case "die":
                    self.close_connection = True
                case "hold":
                    stand_in.gate.acquire()
                    self._answer(200, {"path": self.path})
                case "stream":
                    self._stream(request)
                case _:
                    self._answer(200, {"path": self.path, "said": request})

        def _stream(self, request: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("x-amzn-sagemaker-custom-attributes", "instance=stand-in")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            try:
                for piece in request["pieces"]:
                    stand_in.gate.acquire()
                    self._chunk(piece.encode())
                if request.get("then") == "die":
                    self.close_connection = True
                    return
                if request.get("then") == "wait":
                    # Readable without a request means closed: the caller is gone.
                    self.rfile.read(1)
                    stand_in.client_left.set()
                    self.close_connection = True
                    return
                self.wfile.write(b"0\r\n\r\n")
            except OSError:
                stand_in.client_left.set()

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        def _answer(self, status: int, said: dict[str, Any]) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("x-amzn-sagemaker-custom-attributes", "instance=stand-in;queue_ms=3")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not of interest."""

    return Handler
