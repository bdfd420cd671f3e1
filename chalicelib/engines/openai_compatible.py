"""Any server that speaks OpenAI's API over HTTP: vLLM, TGI's Messages API, SGLang, llama.cpp, our own container.

Where the target names a secret, its key goes with everything that is sent.

urllib3, because botocore brings it along: nothing more to ship or to import, keep-alive, and bytes as they arrive.
"""

import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3

from chalicelib.call import Call, Operation, Started, Stream
from chalicelib.clock import Clock
from chalicelib.dialects import failures, openai, sealed
from chalicelib.dialects.container import capacity, milliseconds, token
from chalicelib.engines.transport.http_body import (
    ANSWER_LIMIT_BYTES,
    ERROR_LIMIT_BYTES,
    PROBE_DEADLINE_S,
    PROBE_LIMIT_BYTES,
    HttpBody,
    monotonic_ms,
    refusal,
)
from chalicelib.engines.transport.streams import BufferedAnswer, StreamedAnswer
from chalicelib.pool import Capacity, OpenAICompatible
from chalicelib.refusal import EngineFailed
from chalicelib.settings import Settings

if TYPE_CHECKING:  # loaded where a target has a key only
    from chalicelib.engines.secrets_manager import ReadSecret
    from chalicelib.engines.server_keys import Send, ServerKeys

CONNECTIONS = 64  # kept alive for each server

_PATHS: dict[Operation, str] = {
    "chat.completions": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
}


class OpenAICompatibleEngine:
    """Engine for targets with a `url`. Thread-safe."""

    def __init__(
        self, settings: Settings, clock: Clock = monotonic_ms, read_secret: "ReadSecret | None" = None
    ) -> None:
        self._settings = settings
        self._timeout = urllib3.Timeout(
            connect=settings.connect_deadline_ms / 1_000, read=settings.idle_deadline_ms / 1_000
        )
        self._answer_deadline_ms = settings.answer_deadline_ms
        self._clock = clock
        self._read_secret = read_secret
        self._keys: ServerKeys | None = None
        self._servers: dict[str, tuple[urllib3.HTTPConnectionPool, str]] = {}
        self._lock = threading.Lock()

    def speaks(self, target: OpenAICompatible) -> Collection[Operation]:  # noqa: ARG002
        """See Engine.speaks."""
        return _PATHS

    def open(self, target: OpenAICompatible, call: Call) -> Stream:
        """See Engine.open."""
        until_ms = self._clock() + self._answer_deadline_ms
        server, path = self._server(target)
        media_type = sealed.MEDIA_TYPE if call.sealed else "text/event-stream" if call.stream else "application/json"
        headers = {
            "Content-Type": sealed.MEDIA_TYPE if call.sealed else "application/json",
            "Accept": media_type,
            "X-Request-ID": token(call.request_id),
            "X-Cloister-Tenant": token(call.tenant_tag),
            "X-Cloister-Priority": str(call.priority),
        }
        body = openai.request(call, target.model or call.pool)
        where = path + _PATHS[call.operation]
        response, target = self._asked(target, lambda key: self._post(server, where, body, headers | key))
        answer = HttpBody(response, self._clock, until_ms)
        try:
            _must_be_ok(response, answer, target)
            instance = token(response.headers.get("X-Instance-ID") or target.name)
            if call.stream or call.sealed:
                if not response.headers.get("Content-Type", "").startswith(media_type):
                    raise EngineFailed(failures.NOT_UNDERSTOOD)
                if call.sealed:
                    return StreamedAnswer(answer, sealed.Translator(target, instance))
                translator = openai.Translator(target, instance, model=call.model_name, choices=call.choices)
                return StreamedAnswer(answer, translator)
            whole = answer.read(ANSWER_LIMIT_BYTES)
            started = Started(instance, milliseconds(response.headers.get("X-Queue-Time-Ms")))
            return BufferedAnswer((started, *openai.buffered(whole, target, call.model_name)))
        except BaseException:
            answer.close()
            raise

    def consult(self, target: OpenAICompatible, question: bytes) -> bytes:
        """See Engine.consult."""
        server, path = self._server(target)
        headers = {"Content-Type": sealed.MEDIA_TYPE}
        response, target = self._asked(
            target, lambda key: self._post(server, path + "/enclave", question, headers | key)
        )
        answer = HttpBody(response, self._clock, self._clock() + sealed.CONSULT_DEADLINE_MS)
        try:
            _must_be_ok(response, answer, target)
            return answer.read(sealed.TOLD_LIMIT_BYTES)
        finally:
            answer.close()

    def probe(self, target: OpenAICompatible) -> Capacity:
        """See Engine.probe. `/health` where there is one, else the list of models."""
        _, path = self._server(target)
        root = path.removesuffix("/v1")
        status, body = self._get(target, root + "/health")
        if status in (404, 405):
            status, body = self._get(target, path + "/models")
        if status != 200:
            raise EngineFailed(failures.FAILED, symptom=f"http {status}")
        return capacity(body, target)

    def _server(self, target: OpenAICompatible) -> tuple[urllib3.HTTPConnectionPool, str]:
        found = self._servers.get(target.url)
        if found is None:
            with self._lock:
                found = self._servers.get(target.url)
                if found is None:
                    try:
                        pool = urllib3.connection_from_url(
                            target.url, maxsize=CONNECTIONS, timeout=self._timeout, retries=False
                        )
                    except urllib3.exceptions.LocationValueError as error:
                        raise EngineFailed(failures.UNREACHABLE, symptom="the url is none", unsent=True) from error
                    found = self._servers[target.url] = (pool, urlsplit(target.url).path.rstrip("/"))
        return found

    def _asked(self, target: OpenAICompatible, send: "Send") -> tuple[urllib3.BaseHTTPResponse, OpenAICompatible]:
        """The response to what `send` sends with the headers it is given, and the target as its failures are told."""
        if not target.secret:
            return send({}), target
        if self._keys is None:
            with self._lock:
                if self._keys is None:
                    # Not at the top: it loads botocore, which nobody else here needs.
                    from chalicelib.engines.server_keys import ServerKeys

                    self._keys = ServerKeys(self._settings, self._clock, self._read_secret)
        return self._keys.ask(target, send)

    def _post(
        self, server: urllib3.HTTPConnectionPool, path: str, body: bytes, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        connections = server.num_connections
        try:
            return self._send(server, path, body, headers)
        except urllib3.exceptions.ProtocolError as error:
            # A server may hang up an idle connection in the instant we use it. Nothing came back and no new
            # connection was made, so once more, on a fresh one: otherwise a lone target costs a 502.
            reused = server.num_connections == connections
            if not reused or not isinstance(error.args[-1], ConnectionError):
                raise refusal(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise refusal(error) from error
        try:
            return self._send(server, path, body, headers)
        except urllib3.exceptions.HTTPError as error:
            raise refusal(error) from error

    @staticmethod
    def _send(
        server: urllib3.HTTPConnectionPool, path: str, body: bytes, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        return server.urlopen(
            "POST", path, body=body, headers=headers, redirect=False, preload_content=False, decode_content=False
        )

    def _get(self, target: OpenAICompatible, path: str) -> tuple[int, bytes]:
        server, _ = self._server(target)
        response, _ = self._asked(target, lambda key: self._probed(server, path, key))
        answer = HttpBody(response, self._clock, self._clock() + round(PROBE_DEADLINE_S * 1_000))
        try:
            return response.status, answer.read(PROBE_LIMIT_BYTES)
        finally:
            answer.close()

    @staticmethod
    def _probed(server: urllib3.HTTPConnectionPool, path: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            return server.urlopen(
                "GET",
                path,
                headers=headers,
                timeout=PROBE_DEADLINE_S,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise refusal(error) from error


def _must_be_ok(response: urllib3.BaseHTTPResponse, answer: HttpBody, target: OpenAICompatible) -> None:
    """Raises what the target refuses with."""
    if response.status == 200:
        return
    body = answer.read(ERROR_LIMIT_BYTES)
    retry_in_ms = failures.retry_after_ms(response.headers.get("Retry-After"))
    raise failures.of_status(response.status, body, target, retry_in_ms)
