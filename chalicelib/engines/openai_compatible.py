"""Any server that speaks OpenAI's API over HTTP: vLLM, TGI's Messages API, SGLang, llama.cpp, our own container.

Where the target names a secret, its key goes with everything that is sent.
"""

import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from chalicelib.call import Call, Operation, Started, Stream
from chalicelib.clock import Clock
from chalicelib.dialects import failures, openai, sealed
from chalicelib.dialects.container import capacity, milliseconds, token
from chalicelib.engines.transport.bounds import (
    ANSWER_LIMIT_BYTES,
    ERROR_LIMIT_BYTES,
    PROBE_DEADLINE_S,
    PROBE_LIMIT_BYTES,
    monotonic_ms,
)
from chalicelib.engines.transport.streams import BufferedAnswer, StreamedAnswer
from chalicelib.engines.transport.wire_body import WireBody, refusal
from chalicelib.http1 import message, trust
from chalicelib.http1.answer import Answer
from chalicelib.http1.failure import Failed
from chalicelib.http1.place import Place
from chalicelib.http1.server import Patience, Server
from chalicelib.pool import Capacity, OpenAICompatible
from chalicelib.refusal import EngineFailed
from chalicelib.settings import Settings

if TYPE_CHECKING:  # loaded where a target has a key only
    from chalicelib.engines.secrets_manager import ReadSecret
    from chalicelib.engines.server_keys import Send, ServerKeys

_PROBING = Patience(connect_s=PROBE_DEADLINE_S, silence_s=PROBE_DEADLINE_S)

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
        self._patience = Patience(settings.connect_deadline_ms / 1_000, settings.idle_deadline_ms / 1_000)
        self._clock = clock
        self._read_secret = read_secret
        self._keys: ServerKeys | None = None
        self._servers: dict[str, Server] = {}
        self._lock = threading.Lock()

    def speaks(self, target: OpenAICompatible) -> Collection[Operation]:  # noqa: ARG002
        """See Engine.speaks."""
        return _PATHS

    def open(self, target: OpenAICompatible, call: Call) -> Stream:
        """See Engine.open."""
        until_ms = self._clock() + self._settings.answer_deadline_ms
        server = self._server(target)
        media_type = sealed.MEDIA_TYPE if call.sealed else "text/event-stream" if call.stream else "application/json"
        headers = {
            "Content-Type": sealed.MEDIA_TYPE if call.sealed else "application/json",
            "Accept": media_type,
            "X-Request-ID": token(call.request_id),
            "X-Cloister-Tenant": token(call.tenant_tag),
            "X-Cloister-Priority": str(call.priority),
        }
        if call.traceparent:
            headers["traceparent"] = call.traceparent
        body = openai.request(call, target.model or call.pool)
        where = server.place.path + _PATHS[call.operation]
        response, target = self._asked(target, lambda key: _sent(server, "POST", where, headers | key, body))
        answer = self._body(response, until_ms)
        try:
            _must_be_ok(response, answer, target)
            instance = token(response.headers.get("x-instance-id") or target.name)
            if call.stream or call.sealed:
                if not response.headers.get("content-type", "").startswith(media_type):
                    raise EngineFailed(failures.NOT_UNDERSTOOD)
                if call.sealed:
                    return StreamedAnswer(answer, sealed.Translator(target, instance))
                translator = openai.Translator(target, instance, model=call.model_name, choices=call.choices)
                return StreamedAnswer(answer, translator)
            whole = answer.read(ANSWER_LIMIT_BYTES)
            answer.close()
            started = Started(instance, milliseconds(response.headers.get("x-queue-time-ms")))
            return BufferedAnswer((started, *openai.buffered(whole, target, call.model_name)))
        except BaseException:
            answer.close()
            raise

    def consult(self, target: OpenAICompatible, question: bytes) -> bytes:
        """See Engine.consult."""
        server = self._server(target)
        headers = {"Content-Type": sealed.MEDIA_TYPE}
        response, target = self._asked(
            target, lambda key: _sent(server, "POST", server.place.path + "/enclave", headers | key, question)
        )
        answer = self._body(response, self._clock() + sealed.CONSULT_DEADLINE_MS)
        try:
            _must_be_ok(response, answer, target)
            return answer.read(sealed.TOLD_LIMIT_BYTES)
        finally:
            answer.close()

    def probe(self, target: OpenAICompatible) -> Capacity:
        """See Engine.probe. `/health` where there is one, else the list of models."""
        server = self._server(target)
        status, body = self._probed(server, target, server.place.path.removesuffix("/v1") + "/health")
        if status in (404, 405):
            status, body = self._probed(server, target, server.place.path + "/models")
        if status != 200:
            raise EngineFailed(failures.FAILED, symptom=f"http {status}")
        return capacity(body, target)

    def _server(self, target: OpenAICompatible) -> Server:
        found = self._servers.get(target.url)
        if found is None:
            with self._lock:
                found = self._servers.get(target.url)
                if found is None:
                    try:
                        place = Place.of(target.url)
                    except ValueError as error:
                        raise EngineFailed(failures.UNREACHABLE, symptom="the url is none", unsent=True) from error
                    found = self._servers[target.url] = Server(place, self._patience, trust.of_the_system)
        return found

    def _body(self, response: Answer, until_ms: int) -> WireBody:
        return WireBody(response, self._clock, self._settings.idle_deadline_ms, until_ms)

    def _asked(self, target: OpenAICompatible, send: "Send") -> tuple[Answer, OpenAICompatible]:
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

    def _probed(self, server: Server, target: OpenAICompatible, path: str) -> tuple[int, bytes]:
        response, _ = self._asked(target, lambda key: _sent(server, "GET", path, key, b"", _PROBING))
        answer = self._body(response, self._clock() + round(PROBE_DEADLINE_S * 1_000))
        try:
            return response.status, answer.read(PROBE_LIMIT_BYTES)
        finally:
            answer.close()


def _sent(
    server: Server, method: str, path: str, headers: Mapping[str, str], body: bytes, patience: Patience | None = None
) -> Answer:
    try:
        return server.ask(message.head(method, path, server.place.host, headers, len(body)), body, patience)
    except Failed as failure:
        raise refusal(failure) from failure


def _must_be_ok(response: Answer, answer: WireBody, target: OpenAICompatible) -> None:
    """Raises what the target refuses with."""
    if response.status == 200:
        return
    body = answer.read(ERROR_LIMIT_BYTES)
    retry_in_ms = failures.retry_after_ms(response.headers.get("retry-after"))
    raise failures.of_status(response.status, body, target, retry_in_ms)
