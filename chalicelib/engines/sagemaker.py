"""SageMaker endpoints: inference components, multi-model endpoints, single models.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpointWithResponseStream.html
"""

import os
from collections.abc import Callable, Collection, Mapping
from urllib.parse import quote

import msgspec

from chalicelib import aws_credentials
from chalicelib.aws_address import address
from chalicelib.aws_credentials import NoCredentials
from chalicelib.call import Call, Operation, Source, Started, Stream
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
from chalicelib.dialects.eventstream import Frame, NotFramed, Unframing
from chalicelib.engines.transport.aws_calls import COMPLAINT_BYTES, AwsCalls, Complaint, by_signature, complaint
from chalicelib.engines.transport.bounds import ANSWER_LIMIT_BYTES, PROBE_DEADLINE_S, PROBE_LIMIT_BYTES, monotonic_ms
from chalicelib.engines.transport.streams import BufferedAnswer, StreamedAnswer
from chalicelib.engines.transport.wire_body import WireBody, refusal
from chalicelib.http1.answer import Answer
from chalicelib.http1.failure import Failed
from chalicelib.http1.server import Patience
from chalicelib.pool import Capacity, SageMaker
from chalicelib.refusal import EngineFailed, EngineTimedOut, NoCapacity, Refusal
from chalicelib.settings import Settings
from chalicelib.signature import wall

SPOKEN: tuple[Operation, ...] = ("chat.completions", "completions", "embeddings")
"""What our container understands."""

_HASTE = Patience(PROBE_DEADLINE_S, PROBE_DEADLINE_S)
_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"

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


class _ModelError(msgspec.Struct):
    """The container's own status and body, as SageMaker quotes them; its headers are lost, Retry-After among them."""

    status: int = msgspec.field(default=0, name="OriginalStatusCode")
    message: str = msgspec.field(default="", name="OriginalMessage")


_stream_error = msgspec.json.Decoder(_StreamError)
_model_error = msgspec.json.Decoder(_ModelError)


def runtime(settings: Settings) -> AwsCalls:
    """SageMaker's runtime, where the environment says it is."""
    patience = Patience(settings.connect_deadline_ms / 1_000, settings.idle_deadline_ms / 1_000)
    prove = by_signature("sagemaker", settings.region, aws_credentials.own(), wall)
    return AwsCalls(address("sagemaker-runtime", settings.region, os.environ), patience, prove)


class SageMakerEngine:
    """Engine for targets with an `endpoint`. Thread-safe; nothing is opened before the first call."""

    def __init__(
        self,
        settings: Settings,
        runtime: Callable[[Settings], AwsCalls] = runtime,
        clock: Clock = monotonic_ms,
    ) -> None:
        self._settings = settings
        self._runtime = runtime(settings)
        self._clock = clock

    def speaks(self, target: SageMaker) -> Collection[Operation]:  # noqa: ARG002
        """See Engine.speaks."""
        return SPOKEN

    def open(self, target: SageMaker, call: Call) -> Stream:
        """See Engine.open."""
        until_ms = self._clock() + self._settings.answer_deadline_ms
        # There is no streamed invocation with a target model: SageMaker hands over the events all at once.
        framed = call.stream and not target.target_model
        media_type = sealed.MEDIA_TYPE if call.sealed else "text/event-stream" if call.stream else "application/json"
        headers = {
            "Content-Type": sealed.MEDIA_TYPE if call.sealed else "application/json",
            "X-Amzn-SageMaker-Accept" if framed else "Accept": media_type,
            _ATTRIBUTES: attributes_of(call),
        }
        answer = self._invoked(target, headers, openai.request(call, target.model or call.pool), framed=framed)
        body = self._body(answer, until_ms)
        try:
            said_back = attributes(answer.headers.get(_ATTRIBUTES.lower(), ""))
            instance = token(said_back.get("instance") or target.name)
            if call.stream or call.sealed:
                said_type = "x-amzn-sagemaker-content-type" if framed else "content-type"
                if not answer.headers.get(said_type, "").startswith(media_type):
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
            body.close()
            started = Started(instance, milliseconds(said_back.get("queue_ms")))
            return BufferedAnswer((started, *openai.buffered(whole, target, call.model_name)))
        except BaseException:
            body.close()
            raise

    def consult(self, target: SageMaker, question: bytes) -> bytes:
        """See Engine.consult."""
        headers = {"Content-Type": sealed.MEDIA_TYPE, _ATTRIBUTES: ENCLAVE_ATTRIBUTES}
        answer = self._invoked(target, headers, question)
        body = self._body(answer, self._clock() + sealed.CONSULT_DEADLINE_MS)
        try:
            return body.read(sealed.TOLD_LIMIT_BYTES)
        finally:
            body.close()

    def probe(self, target: SageMaker) -> Capacity:
        """See Engine.probe. The container answers what it answers to a ping."""
        until_ms = self._clock() + round(PROBE_DEADLINE_S * 1_000)
        headers = {"Content-Type": "application/json", _ATTRIBUTES: "op=probe"}
        try:
            answer = self._invoked(target, headers, b"{}", patience=_HASTE)
        except EngineTimedOut:
            raise
        except Refusal as refused:  # full, or whatever it finds wrong with a probe: it is not well
            raise EngineFailed(failures.FAILED, symptom=refused.symptom) from refused
        body = self._body(answer, until_ms)
        try:
            return capacity(body.read(PROBE_LIMIT_BYTES), target)
        finally:
            body.close()

    def _body(self, answer: Answer, until_ms: int) -> WireBody:
        return WireBody(answer, self._clock, self._settings.idle_deadline_ms, until_ms)

    def _invoked(
        self,
        target: SageMaker,
        headers: Mapping[str, str],
        body: bytes,
        *,
        framed: bool = False,
        patience: Patience | None = None,
    ) -> Answer:
        """The answer, if it is one of the container's. Raises: as Engine.open."""
        path = f"/endpoints/{quote(target.endpoint, safe='')}/invocations{'-response-stream' if framed else ''}"
        try:
            answer = self._runtime.post(path, {**headers, **_place(target)}, body, patience)
            if answer.status == 200:
                return answer
            said = answer.read(COMPLAINT_BYTES)
        except Failed as failure:
            raise refusal(failure) from failure
        except NoCredentials as missing:
            raise EngineFailed(failures.NO_CREDENTIALS, symptom=str(missing)) from missing
        raise _refusal(complaint(answer.status, answer.headers, said), target)


class FramedBody:
    """The payloads within an event stream, as a body of their own."""

    def __init__(self, body: WireBody) -> None:
        self._body = body
        self._frames = Unframing()
        self._failure: Refusal | None = None

    @property
    def source(self) -> Source:
        """See Body.source."""
        return self._body.source

    def next(self) -> bytes | None:
        """See Body.next. Raises also what an exception frame says, once all before it is read."""
        payloads: list[bytes] = []
        while not payloads:
            if self._failure is not None:
                raise self._failure
            data = self._body.next()
            if not data:
                return data
            try:
                for frame in self._frames.feed(data):
                    if frame.headers.get(":message-type") != "event":
                        self._failure = _broken(frame)
                        break
                    if frame.headers.get(":event-type") == "PayloadPart" and frame.payload:
                        payloads.append(frame.payload)
            except NotFramed:
                self._failure = EngineFailed(failures.NOT_UNDERSTOOD)
        return payloads[0] if len(payloads) == 1 else b"".join(payloads)

    def finish(self) -> None:
        """See Body.finish."""
        self._body.finish()

    def close(self) -> None:
        """See Body.close."""
        self._body.close()


def _place(target: SageMaker) -> dict[str, str]:
    place: dict[str, str] = {}
    if target.component:
        place["X-Amzn-SageMaker-Inference-Component"] = target.component
    if target.target_model:
        place["X-Amzn-SageMaker-Target-Model"] = target.target_model
    return place


def _refusal(said: Complaint, target: SageMaker) -> Refusal:
    if said.code == "ValidationError" and _NO_COPY in said.text.lower():
        return NoCapacity(failures.AT_ZERO, retry_in_ms=STARTS_IN_MS)
    if said.code == "ModelError":
        return _of_the_container(said, target)
    if said.code in _BUSY:
        return NoCapacity(failures.FULL)
    # A wrong name, a missing permission, a fault of SageMaker: nothing that the caller could mend.
    return EngineFailed(failures.FAILED, symptom=failures.service_code(said.code))


def _of_the_container(said: Complaint, target: SageMaker) -> Refusal:
    try:
        quoted = _model_error.decode(said.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        quoted = _ModelError()
    if quoted.status == 0:  # no answer came from the container at all
        if "timed out" in quoted.message:
            return EngineTimedOut(failures.SILENT, symptom="ModelError")
        return EngineFailed(failures.BROKE_OFF, symptom="ModelError")
    return failures.of_status(quoted.status, quoted.message.encode(), target)


def _broken(frame: Frame) -> Refusal:
    try:
        code = _stream_error.decode(frame.payload).code
    except (msgspec.DecodeError, UnicodeDecodeError):
        code = ""
    if code == "ModelInvocationTimeExceeded":
        return EngineTimedOut(failures.SILENT, symptom=code)
    kind = frame.headers.get(":exception-type") or frame.headers.get(":error-code") or ""
    return EngineFailed(failures.BROKE_OFF, symptom=failures.service_code(kind[:1].upper() + kind[1:]))
