"""An OpenAI-compatible server small enough to read in one go: what the local Bedrock's models are tested against.

What it does is chosen by the last thing that is said to it: a JSON object, or nothing of note. Streams stop at a gate
that the test opens. A character is a token of its `context`.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class OpenAIServer:
    """What the test sees of it."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.gate = threading.Semaphore(0)
        self.client_left = threading.Event()


@contextmanager
def openai_server() -> Iterator[OpenAIServer]:
    seen = OpenAIServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(seen))
    server.daemon_threads = True
    seen.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(seen: OpenAIServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen.asked.append(asked)
            do = json.loads(asked["messages"][-1]["content"])
            tokens = sum(len(turn["content"]) for turn in asked["messages"])
            if tokens > do.get("context", tokens):
                said = f"request ({tokens} tokens) exceeds the available context size ({do['context']} tokens)"
                self._answer(400, {"error": {"code": "exceed_context_size_error", "message": said}})
            elif "status" in do:
                self._answer(do["status"], {"error": {"code": do.get("code", "")}})
            elif asked.get("stream"):
                self._stream(do)
            else:
                self._answer(200, {"choices": [{"message": {}}], "usage": {"prompt_tokens": 7, "completion_tokens": 1}})

        def _stream(self, do: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.close_connection = True
            try:
                for piece in do["pieces"]:
                    seen.gate.acquire()
                    self._event({"choices": [{"delta": {"content": piece}}]})
                if do.get("then") == "break":
                    return
                if do.get("then") == "wait":
                    self.rfile.read(1)  # readable without a request means closed
                    seen.client_left.set()
                    return
                self._event({"choices": [{"delta": {}, "finish_reason": do.get("reason", "stop")}]})
                self._event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(do["pieces"])}})
                self.wfile.write(b"data: [DONE]\n\n")
            except OSError:
                seen.client_left.set()

        def _event(self, chunk: dict[str, Any]) -> None:
            self.wfile.write(b": still here\n\ndata: " + json.dumps(chunk).encode() + b"\n\n")
            self.wfile.flush()

        def _answer(self, status: int, said: dict[str, Any]) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not of interest."""

    return Handler
