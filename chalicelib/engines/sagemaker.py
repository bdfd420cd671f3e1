"""SageMaker endpoints: inference components, multi-model endpoints, single models.

botocore signs and sends; the bodies are read from its urllib3 response directly, because only a socket can be
cut off by another thread while one is reading it.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

import botocore.session
import msgspec
from botocore.config import Config
from botocore.eventstream import EventStreamBuffer, EventStreamMessage, ParserError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from chalicelib.call import Call, Operation, Started, Stream
from chalicelib.clock import Clock
from chalicelib.dialects import failures, openai, sealed
from chalicelib.dialects.container import (
    ENCLAVE_ATTRIBUTES,
    attributes,
    attributes_of,
    capacity,
    milliseconds,
    token,
)
from chalicelib.engines.transport.bounds import ANSWER_LIMIT_BYTES, PROBE_DEADLINE_S, PROBE_LIMIT_BYTES, monotonic_ms
from chalicelib.engines.transport.http_body import HttpBody
from chalicelib.engines.transport.streams import BufferedAnswer, StreamedAnswer
from chalicelib.pool import Capacity, SageMaker
from chalicelib.refusal import EngineFailed, EngineTimedOut, NoCapacity, Refusal
from chalicelib.settings import Settings

CONNECTIONS = 64
PROBE_CONNECTIONS = 8

SPOKEN: tuple[Operation, ...] = ("chat.completions", "completions", "embeddings")
"""What our container understands."""

_BUSY = {
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ModelNotReadyException",
}

_NO_COPY = "no capacity"
"""What SageMaker says of an inference component at zero, which has no code of its own: `ValidationError: Inference
Component has no capacity to process this request. ApplicationAutoScaling may be in-progress (if configured) or …`."""
STARTS_IN_MS = 120_000
"""For an instance, its image and its weights. The very call starts it, by the metric `NoCapacityInvocationFailures`."""


class _StreamError(msgspec.Struct):
    code: str = msgspec.field(default="", name="ErrorCode")


_stream_error = msgspec.json.Decoder(_StreamError)

NewClient = Callable[[Settings, Config], Any]
"""Makes a botocore client of `sagemaker-runtime`; botocore has no types for it."""


def new_client(settings: Settings, config: Config) -> Any:
    """With credentials and endpoint as the environment says."""
    return botocore.session.get_session().create_client("sagemaker-runtime", region_name=settings.region, config=config)


class SageMakerEngine:
    """Engine for targets with an `endpoint`. Thread-safe; its clients are made when they are first needed."""

    def __init__(self, settings: Settings, new_client: NewClient = new_client, clock: Clock = monotonic_ms) -> None:
        self._settings = settings
        self._new_client = new_client
        self._clock = clock
        self._lock = threading.Lock()
        self._invoking: Any = None
        self._probing: Any = None

    def speaks(self, target: SageMaker) -> Collection[Operation]:  # noqa: ARG002
        """See Engine.speaks."""
        return SPOKEN

    def open(self, target: SageMaker, call: Call) -> Stream:
        """See Engine.open."""
        until_ms = self._clock() + self._settings.answer_deadline_ms
        framed = call.stream and not target.target_model
        media_type = sealed.MEDIA_TYPE if call.sealed else "text/event-stream" if call.stream else "application/json"
        request: dict[str, object] = {
            **_place(target),
            "Body": openai.request(call, target.model or call.pool),
            "ContentType": sealed.MEDIA_TYPE if call.sealed else "application/json",
            "Accept": media_type,
            "CustomAttributes": attributes_of(call),
        }
        client = self._client()
        # There is no streamed invocation with a target model: SageMaker hands over the events all at once.
        invoke = client.invoke_endpoint_with_response_stream if framed else client.invoke_endpoint
        response = _invoked(invoke, request, target)
        # Public access to a botocore stream cannot be interrupted, so take the urllib3 response from under it.
        body = HttpBody(response["Body"]._raw_stream, self._clock, until_ms)
        try:
            said_back = attributes(response.get("CustomAttributes", ""))
            instance = token(said_back.get("instance") or target.name)
            if call.stream or call.sealed:
                if not response.get("ContentType", "").startswith(media_type):
                    raise EngineFailed(failures.NOT_UNDERSTOOD)
                at_once = call.stream and not framed
                translator = (
                    sealed.Translator(target, instance, buffered=at_once)
                    if call.sealed
                    else openai.Translator(
                        target, instance, model=call.model_name, choices=call.choices, buffered=at_once
                    )
                )
                return StreamedAnswer(FramedBody(body) if framed else body, translator)
            whole = body.read(ANSWER_LIMIT_BYTES)
            started = Started(instance, milliseconds(said_back.get("queue_ms")))
            return BufferedAnswer((started, *openai.buffered(whole, target, call.model_name)))
        except BaseException:
            body.close()
            raise

    def consult(self, target: SageMaker, question: bytes) -> bytes:
        """See Engine.consult."""
        request = {
            **_place(target),
            "Body": question,
            "ContentType": sealed.MEDIA_TYPE,
            "CustomAttributes": ENCLAVE_ATTRIBUTES,
        }
        response = _invoked(self._client().invoke_endpoint, request, target)
        body = HttpBody(response["Body"]._raw_stream, self._clock, self._clock() + sealed.CONSULT_DEADLINE_MS)
        try:
            return body.read(sealed.TOLD_LIMIT_BYTES)
        finally:
            body.close()

    def probe(self, target: SageMaker) -> Capacity:
        """See Engine.probe. The container answers what it answers to a ping."""
        request = {
            **_place(target),
            "Body": b"{}",
            "ContentType": "application/json",
            "CustomAttributes": "op=probe",
        }
        try:
            response = _invoked(self._probe_client().invoke_endpoint, request, target)
        except EngineTimedOut:
            raise
        except Refusal as refusal:  # full, or whatever it finds wrong with a probe: it is not well
            raise EngineFailed(failures.FAILED, symptom=refusal.symptom) from refusal
        body = HttpBody(response["Body"]._raw_stream, self._clock, self._clock() + round(PROBE_DEADLINE_S * 1_000))
        try:
            return capacity(body.read(PROBE_LIMIT_BYTES), target)
        finally:
            body.close()

    def _client(self) -> Any:
        if self._invoking is None:
            with self._lock:
                if self._invoking is None:
                    connect_s = self._settings.connect_deadline_ms / 1_000
                    idle_s = self._settings.idle_deadline_ms / 1_000
                    self._invoking = self._new_client(self._settings, _config(connect_s, idle_s, CONNECTIONS))
        return self._invoking

    def _probe_client(self) -> Any:
        # Its deadlines are another's: botocore knows them for a client only, not for a call.
        if self._probing is None:
            with self._lock:
                if self._probing is None:
                    config = _config(PROBE_DEADLINE_S, PROBE_DEADLINE_S, PROBE_CONNECTIONS)
                    self._probing = self._new_client(self._settings, config)
        return self._probing


class FramedBody:
    """The payloads within an event stream, as a body of their own."""

    def __init__(self, body: HttpBody) -> None:
        self._body = body
        self._frames = EventStreamBuffer()
        self._failure: Refusal | None = None

    source = None  # as its body has none

    def next(self) -> bytes:
        """See HttpBody.next. Raises also what an exception frame says, once all before it is read."""
        payloads: list[bytes] = []
        while not payloads:
            if self._failure is not None:
                raise self._failure
            data = self._body.next()
            if not data:
                break
            try:
                self._frames.add_data(data)
                for frame in self._frames:
                    if frame.headers.get(":message-type") != "event":
                        self._failure = _broken(frame)
                        break
                    if frame.headers.get(":event-type") == "PayloadPart" and frame.payload:
                        payloads.append(frame.payload)
            except ParserError:
                self._failure = EngineFailed(failures.NOT_UNDERSTOOD)
        return b"".join(payloads)

    def finish(self) -> None:
        """See HttpBody.finish."""
        self._body.finish()

    def close(self) -> None:
        """See HttpBody.close."""
        self._body.close()


def _config(connect_s: float, read_s: float, connections: int) -> Config:
    return Config(
        connect_timeout=connect_s,
        read_timeout=read_s,
        max_pool_connections=connections,
        retries={"total_max_attempts": 1},  # placement knows other targets; botocore would only ask this one again
        tcp_keepalive=True,
        parameter_validation=False,  # the service validates as well, and this costs CPU on every call
    )


def _place(target: SageMaker) -> dict[str, object]:
    place: dict[str, object] = {"EndpointName": target.endpoint}
    if target.component:
        place["InferenceComponentName"] = target.component
    if target.target_model:
        place["TargetModel"] = target.target_model
    return place


def _invoked(
    invoke: Callable[..., Mapping[str, Any]], request: Mapping[str, object], target: SageMaker
) -> Mapping[str, Any]:
    try:
        return invoke(**request)
    except ConnectionClosedError:
        # A sandbox that was frozen finds its connections closed when it thaws: once more, on a fresh connection.
        # Should the first one have run after all, a GPU worked in vain, but the lease is charged once.
        pass
    except (BotoCoreError, ClientError) as error:
        raise _refusal(error, target) from error
    try:
        return invoke(**request)
    except (BotoCoreError, ClientError) as error:
        raise _refusal(error, target) from error


def _refusal(error: BotoCoreError | ClientError, target: SageMaker) -> Refusal:
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        if code == "ValidationError" and _NO_COPY in error.response["Error"].get("Message", "").lower():
            return NoCapacity(failures.AT_ZERO, retry_in_ms=STARTS_IN_MS)
        if code == "ModelError":
            return _model_error(error.response, target)
        if code in _BUSY:
            return NoCapacity(failures.FULL)
        # A wrong name, a missing permission, a fault of SageMaker: nothing that the caller could mend.
        return EngineFailed(failures.FAILED, symptom=failures.service_code(code))
    symptom = type(error).__name__
    if isinstance(error, ReadTimeoutError):
        return EngineTimedOut(failures.SILENT, symptom=symptom)
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return EngineFailed(failures.UNREACHABLE, symptom=symptom, unsent=True)
    return EngineFailed(failures.BROKE_OFF, symptom=symptom)


def _model_error(response: Mapping[str, Any], target: SageMaker) -> Refusal:
    """The container's own status and body, as SageMaker quotes them; its headers are lost, Retry-After among them."""
    status = response.get("OriginalStatusCode") or 0
    message = response.get("OriginalMessage") or ""
    if status == 0:  # no answer came from the container at all
        if "timed out" in message:
            return EngineTimedOut(failures.SILENT, symptom="ModelError")
        return EngineFailed(failures.BROKE_OFF, symptom="ModelError")
    return failures.of_status(status, message.encode(), target)


def _broken(frame: EventStreamMessage) -> Refusal:
    try:
        code = _stream_error.decode(frame.payload).code
    except (msgspec.DecodeError, UnicodeDecodeError):
        code = ""
    if code == "ModelInvocationTimeExceeded":
        return EngineTimedOut(failures.SILENT, symptom=code)
    kind = str(frame.headers.get(":exception-type") or frame.headers.get(":error-code") or "")
    return EngineFailed(failures.BROKE_OFF, symptom=failures.service_code(kind[:1].upper() + kind[1:]))
