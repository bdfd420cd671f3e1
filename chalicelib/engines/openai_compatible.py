"""Any server that speaks OpenAI's API over HTTP: vLLM, TGI's Messages API, SGLang, llama.cpp, our own container.

urllib3, because botocore brings it along: nothing more to ship or to import, keep-alive, and bytes as they arrive.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from http.client import RemoteDisconnected
from urllib.parse import urlsplit

import msgspec
import urllib3

from chalicelib.call import Call, Event, Started, Stream
from chalicelib.clock import Clock
from chalicelib.engines import Capacity, failures, openai_wire
from chalicelib.placement.pool import Target
from chalicelib.refusal import EngineFailed, EngineTimedOut, Refusal

ANSWER_LIMIT_BYTES = 64 * 1024 * 1024  # a buffered answer; embeddings of a long list are the largest
ERROR_LIMIT_BYTES = 64 * 1024
PROBE_LIMIT_BYTES = 64 * 1024
READ_BYTES = 64 * 1024
PROBE_DEADLINE_S = 1.0
TAIL_DEADLINE_S = 0.2  # for the end of the body behind `[DONE]`, to keep the connection
CONNECTIONS = 64  # kept alive for each server

_PATHS = {
    "chat.completions": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
}


class _Said(msgspec.Struct):
    """What our container's /health answers."""

    capacity: int
    in_flight: int
    queue_depth: int


_said = msgspec.json.Decoder(_Said)


class OpenAICompatible:
    """Engine for targets with a `url`. Thread-safe."""

    def __init__(self, *, connect_deadline_ms: int, idle_deadline_ms: int, answer_deadline_ms: int, clock: Clock):
        self._timeout = urllib3.Timeout(connect=connect_deadline_ms / 1_000, read=idle_deadline_ms / 1_000)
        self._answer_deadline_ms = answer_deadline_ms
        self._clock = clock
        self._servers: dict[str, tuple[urllib3.HTTPConnectionPool, str]] = {}
        self._lock = threading.Lock()

    def open(self, target: Target, call: Call) -> Stream:
        """See Engine.open."""
        until_ms = self._clock() + self._answer_deadline_ms
        server, path = self._server(target)
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if call.stream else "application/json",
            "X-Request-ID": call.request_id,
            "X-Cloister-Tenant": call.tenant_tag,
            "X-Cloister-Priority": str(call.priority),
        }
        response = self._post(server, path + _PATHS[call.operation], call.wire(target.model or call.pool), headers)
        answer = HttpAnswer(response, self._clock, until_ms)
        try:
            if response.status != 200:
                body = answer.read(ERROR_LIMIT_BYTES)
                retry_in_ms = failures.retry_after_ms(response.headers.get("Retry-After"))
                raise failures.of_status(response.status, body, target, retry_in_ms)
            instance = response.headers.get("X-Instance-ID", target.name)
            if call.stream:
                if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                    raise EngineFailed(failures.NOT_UNDERSTOOD)
                return StreamedAnswer(answer, openai_wire.Translator(target, instance))
            body = answer.read(ANSWER_LIMIT_BYTES)
            queued = response.headers.get("X-Queue-Time-Ms", "")
            started = Started(instance, int(queued) if queued.isdecimal() else 0)
            return BufferedAnswer((started, *openai_wire.buffered(body, target)))
        except BaseException:
            answer.close()
            raise

    def probe(self, target: Target) -> Capacity:
        """See Engine.probe. `/health` where there is one, else the list of models."""
        server, path = self._server(target)
        root = path.removesuffix("/v1")
        status, body = self._get(server, root + "/health")
        if status in (404, 405):
            status, body = self._get(server, path + "/models")
        if status != 200:
            raise EngineFailed(failures.FAILED)
        try:
            said = _said.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # vLLM says nothing and llama.cpp only that it is well: believe it, and our own configuration.
            return Capacity(target.capacity, 0, 0)
        return Capacity(said.capacity, said.in_flight, said.queue_depth)

    def _server(self, target: Target) -> tuple[urllib3.HTTPConnectionPool, str]:
        found = self._servers.get(target.url)
        if found is None:
            with self._lock:
                found = self._servers.get(target.url)
                if found is None:
                    pool = urllib3.connection_from_url(
                        target.url, maxsize=CONNECTIONS, timeout=self._timeout, retries=False
                    )
                    found = self._servers[target.url] = (pool, urlsplit(target.url).path.rstrip("/"))
        return found

    def _post(
        self, server: urllib3.HTTPConnectionPool, path: str, body: bytes, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        connections = server.num_connections
        try:
            return self._send(server, path, body, headers)
        except urllib3.exceptions.ProtocolError as error:
            # A server may hang up an idle connection in the instant we use it. Nothing came back and no new
            # connection was made, so once more, on a fresh one: otherwise a lone target costs a 502.
            if not isinstance(error.__cause__, RemoteDisconnected) or server.num_connections != connections:
                raise EngineFailed(failures.BROKE_OFF) from error
        except urllib3.exceptions.HTTPError as error:
            raise _refusal(error) from error
        try:
            return self._send(server, path, body, headers)
        except urllib3.exceptions.HTTPError as error:
            raise _refusal(error) from error

    @staticmethod
    def _send(
        server: urllib3.HTTPConnectionPool, path: str, body: bytes, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        return server.urlopen(
            "POST", path, body=body, headers=headers, redirect=False, preload_content=False, decode_content=False
        )

    def _get(self, server: urllib3.HTTPConnectionPool, path: str) -> tuple[int, bytes]:
        try:
            response = server.urlopen(
                "GET", path, timeout=PROBE_DEADLINE_S, redirect=False, preload_content=False, decode_content=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise _refusal(error) from error
        answer = HttpAnswer(response, self._clock, self._clock() + round(PROBE_DEADLINE_S * 1_000))
        try:
            return response.status, answer.read(PROBE_LIMIT_BYTES)
        finally:
            answer.close()


class HttpAnswer:
    """The body of one HTTP response, read by one thread, closed by any."""

    def __init__(self, response: urllib3.BaseHTTPResponse, clock: Clock, until_ms: int) -> None:
        self._response = response
        self._socket: socket.socket | None = getattr(response.connection, "sock", None)
        self._clock = clock
        self._until_ms = until_ms
        self._lock = threading.Lock()
        self._reading = False
        self._closed = False

    def next(self) -> bytes:
        """What has arrived, waiting for something; empty at the end. Raises EngineFailed, EngineTimedOut."""
        with self._lock:
            if self._closed:
                raise EngineFailed(failures.BROKE_OFF)
            self._reading = True
        try:
            if self._clock() > self._until_ms:
                raise EngineTimedOut(failures.SILENT)
            return self._response.read1(READ_BYTES)
        except urllib3.exceptions.HTTPError as error:
            raise _refusal(error) from error
        except (OSError, ValueError, AttributeError) as error:
            # A response that another thread cut off may come apart in any of these ways.
            raise EngineFailed(failures.BROKE_OFF) from error
        finally:
            with self._lock:
                self._reading = False
                if self._closed:
                    self._discard()

    def read(self, limit_bytes: int) -> bytes:
        """All of it. Raises EngineFailed also where it is longer than `limit_bytes`."""
        parts = []
        size = 0
        while part := self.next():
            parts.append(part)
            size += len(part)
            if size > limit_bytes:
                raise EngineFailed(failures.TOO_LONG)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def finish(self) -> None:
        """The answer is complete, the body perhaps not: read its end, so that the connection can be used again."""
        if self._socket is not None and not self._closed and self._response.connection is not None:
            with contextlib.suppress(OSError):
                self._socket.settimeout(TAIL_DEADLINE_S)
            with contextlib.suppress(Refusal):
                for _ in range(4):
                    if not self.next():
                        break
        self.close()

    def close(self) -> None:
        """Keep the connection if the body was read to its end, else cut it. Any thread, any number of times."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._reading:
                # Its reader wakes up and discards it: to close a socket under a reader is not safe.
                if self._socket is not None:
                    with contextlib.suppress(OSError):
                        self._socket.shutdown(socket.SHUT_RDWR)
            else:
                self._discard()

    def _discard(self) -> None:
        # At the end of its body urllib3 has put the connection back by itself and there is nothing to close.
        if self._response.connection is not None:
            with contextlib.suppress(OSError):
                self._response.close()
            self._response.release_conn()


class StreamedAnswer:
    """A Stream whose events are read from the wire as they come."""

    def __init__(self, answer: HttpAnswer, translator: openai_wire.Translator) -> None:
        self._answer = answer
        self._translator = translator

    def __iter__(self) -> Iterator[Event]:
        translator = self._translator
        while not translator.done:
            data = self._answer.next()
            if not data:
                translator.end()
            yield from translator.feed(data)
        self._answer.finish()

    def close(self) -> None:
        """See Stream.close."""
        if self._translator.done:
            self._answer.finish()
        else:
            self._answer.close()


class BufferedAnswer:
    """A Stream that was already read to its end."""

    def __init__(self, events: tuple[Event, ...]) -> None:
        self._events = events

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def close(self) -> None:
        """See Stream.close; there is nothing left to stop."""


def _refusal(error: urllib3.exceptions.HTTPError) -> Refusal:
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError | urllib3.exceptions.NewConnectionError):
        return EngineFailed(failures.UNREACHABLE)
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return EngineTimedOut(failures.SILENT)
    return EngineFailed(failures.BROKE_OFF)
