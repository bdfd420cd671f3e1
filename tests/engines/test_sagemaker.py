"""Against a real server that speaks the SageMaker runtime API."""

import threading

import msgspec
import pytest

from chalicelib.aws_credentials import NoCredentials
from chalicelib.call import Call, Delta, Finished, Started, Usage, Waiting
from chalicelib.dialects import failures
from chalicelib.engines.sagemaker import SageMakerEngine
from chalicelib.engines.transport.aws_calls import AwsCalls, by_signature
from chalicelib.http1.server import Patience
from chalicelib.pool import Capacity, SageMaker
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal, TooLarge
from chalicelib.settings import Settings
from chalicelib.signature import Credentials
from tests.engines.answers import DONE, ENDED, STREAM, USAGE_CHUNK, WHOLE, chat, ending, event, said
from tests.engines.frames import exception, part
from tests.engines.openai_server import HALTING, IMPATIENT, PATIENT
from tests.engines.sagemaker_server import (
    AT_ZERO,
    ATTRIBUTES,
    COMPONENT,
    MULTI_MODEL,
    engine_for,
    error,
    framed,
    model_error,
)
from tests.engines.servers import (
    LAST_CHUNK,
    Handler,
    Request,
    Wire,
    always,
    answer_then_hang_up,
    chunk,
    serving,
    whole,
)
from tests.patience import PATIENCE_S


def outcome(handler: Handler, call: Call, settings: Settings = PATIENT) -> tuple[list[object], Refusal | None]:
    with engine_for(handler, settings) as (engine, _):
        try:
            stream = engine.open(COMPONENT, call)
        except Refusal as refusal:
            return [], refusal
        try:
            return ending(iter(stream))
        finally:
            stream.close()


def test_a_whole_answer_from_an_inference_component() -> None:
    answer = whole(WHOLE, **{ATTRIBUTES: "instance=i-9;queue_ms=12"})
    with engine_for(always(answer)) as (engine, server):
        assert list(engine.open(COMPONENT, chat())) == [
            Started("i-9", 12),
            Delta(WHOLE, 2),
            Finished(Usage(7, 2)),
        ]
    request = server.requests[0]
    assert request.path == "/endpoints/shared/invocations"
    assert request.headers["x-amzn-sagemaker-inference-component"] == "model-a-component"
    assert "x-amzn-sagemaker-target-model" not in request.headers
    assert request.headers["x-amzn-sagemaker-custom-attributes"] == (
        "op=chat.completions;tenant=tag-1;priority=5;request=req-1"
    )
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
    assert msgspec.json.decode(request.body)["model"] == "model-a"


def test_a_caller_cannot_add_attributes_by_the_request_id() -> None:
    with engine_for(always(whole(WHOLE))) as (engine, server):
        engine.open(COMPONENT, chat(request_id="a;priority=9\r\nb" + "x" * 2_000))
    attributes = server.requests[0].headers["x-amzn-sagemaker-custom-attributes"]
    assert attributes.endswith(";priority=5;request=a_priority_9__b" + "x" * 113)


def test_a_streamed_answer_gives_each_token_as_it_is_made() -> None:
    first_arrived = threading.Event()

    def gated(_: Request, wire: Wire) -> None:
        wire.send(framed(part(b": queue_position=1 predicted_start_ms=40\n\n"), part(event(said("Hello"))[:20])))
        wire.send(chunk(part(event(said("Hello"))[20:])))
        assert first_arrived.wait(PATIENCE_S)
        rest = part(event(said(" there"))) + part(event(USAGE_CHUNK) + DONE)
        wire.send(chunk(rest[:50]), chunk(rest[50:]), LAST_CHUNK)

    with engine_for(gated) as (engine, server):
        events = iter(engine.open(COMPONENT, chat(stream=True)))
        assert [next(events) for _ in range(3)] == [Waiting(1, 40, "i-9"), Started("i-9"), Delta(said("Hello"), 1)]
        first_arrived.set()
        assert list(events) == [Delta(said(" there"), 1), Finished(Usage(7, 2), USAGE_CHUNK)]
    assert server.requests[0].path == "/endpoints/shared/invocations-response-stream"


@pytest.mark.parametrize("target", [COMPONENT, MULTI_MODEL])
def test_a_stream_that_has_told_why_it_ended_needs_no_done(target: SageMaker) -> None:
    said_all = event(said("Hello")) + event(ENDED) + event(USAGE_CHUNK)
    framed_or_not = (framed(part(said_all)), LAST_CHUNK) if target is COMPONENT else (whole_stream(said_all),)
    with engine_for(always(*framed_or_not)) as (engine, _):
        *_, finished = engine.open(target, chat(stream=True))
    assert finished == Finished(Usage(7, 2), USAGE_CHUNK)


def whole_stream(events: bytes) -> bytes:
    return whole(events, content_type="text/event-stream")


def test_a_multi_model_endpoint_answers_a_stream_at_once_and_says_so() -> None:
    stale_news = b": queue_position=1 predicted_start_ms=40\n\n"
    with engine_for(always(whole(stale_news + STREAM, content_type="text/event-stream"))) as (engine, server):
        assert list(engine.open(MULTI_MODEL, chat(stream=True))) == [
            Started("gpu-2", 0, buffered=True),
            Delta(said("Hello"), 1),
            Delta(said(" there"), 1),
            Finished(Usage(7, 2), USAGE_CHUNK),
        ]
    request = server.requests[0]
    assert request.path == "/endpoints/many/invocations"
    assert request.headers["x-amzn-sagemaker-target-model"] == "model-a.tar.gz"
    assert "x-amzn-sagemaker-inference-component" not in request.headers
    assert msgspec.json.decode(request.body)["stream"] is True


@pytest.mark.parametrize("take_all", [True, False])
@pytest.mark.parametrize(
    ("answer", "target", "stream"),
    [
        (whole(WHOLE), COMPONENT, False),
        (framed(part(STREAM)) + LAST_CHUNK, COMPONENT, True),
        (whole(STREAM, content_type="text/event-stream"), MULTI_MODEL, True),
    ],
)
def test_a_connection_serves_one_call_after_the_other(
    answer: bytes, target: SageMaker, stream: bool, take_all: bool
) -> None:
    with engine_for(always(answer)) as (engine, server):
        for _ in range(4):
            answered = engine.open(target, chat(stream=stream))
            for each in answered:
                if isinstance(each, Finished) and not take_all:
                    break
            answered.close()
        assert (len(server.requests), server.connections) == (4, 1)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(model_error(400, '{"error":{"message":"bad seed"}}'), Malformed, id="container: bad request"),
        pytest.param(model_error(413), TooLarge, id="container: too large"),
        pytest.param(model_error(503, '{"error":{"message":"full"}}'), NoCapacity, id="container: full"),
        pytest.param(model_error(507), EngineFailed, id="container: no memory for the model"),
        pytest.param(model_error(500, "Traceback"), EngineFailed, id="container: fault"),
        pytest.param(model_error(504), EngineTimedOut, id="container: silent"),
        pytest.param(model_error(0, "Your invocation timed out while waiting"), EngineTimedOut, id="no answer in time"),
        pytest.param(model_error(0, "connection reset"), EngineFailed, id="no answer"),
        pytest.param(error(400, "ThrottlingException"), NoCapacity, id="throttled"),
        pytest.param(error(503, "ServiceUnavailable"), NoCapacity, id="unavailable"),
        pytest.param(error(429, "ModelNotReadyException"), NoCapacity, id="still loading"),
        pytest.param(error(400, "ValidationError", Message=AT_ZERO), NoCapacity, id="component at zero"),
        pytest.param(error(400, "ValidationError"), EngineFailed, id="no such endpoint"),
        pytest.param(error(403, "AccessDeniedException"), EngineFailed, id="no permission"),
        pytest.param(error(500, "InternalFailure"), EngineFailed, id="a fault of SageMaker"),
        pytest.param(whole(b"<html>", 502, content_type="text/html"), EngineFailed, id="a web page"),
        pytest.param(whole(b"garbage"), EngineFailed, id="no JSON, and no frames"),
    ],
)
def test_every_error_of_the_runtime_says_what_the_caller_can_do(answer: bytes, kind: type[Refusal]) -> None:
    for call in (chat(), chat(stream=True)):
        with engine_for(answer_then_hang_up(answer)) as (engine, server):
            with pytest.raises(kind) as caught:
                engine.open(COMPONENT, call)
            assert type(caught.value) is kind
            assert not any(secret in caught.value.text for secret in ("shared", "123456789012", "Traceback"))
            assert len(server.requests) == 1, "placement fails over, nobody here tries again"


@pytest.mark.parametrize(
    ("answer", "symptom"),
    [
        (error(403, "AccessDeniedException"), "AccessDeniedException"),
        (model_error(500, '{"error":{"message":"secret","code":"internal_error"}}'), "http 500 internal_error"),
        (model_error(0, "secret"), "ModelError"),
    ],
)
def test_operators_hear_the_code_of_a_failure(answer: bytes, symptom: str) -> None:
    with engine_for(answer_then_hang_up(answer)) as (engine, _), pytest.raises(EngineFailed) as caught:
        engine.open(COMPONENT, chat())
    assert caught.value.symptom == symptom


@pytest.mark.parametrize("stream", [False, True])
def test_a_component_at_zero_says_how_long_it_takes_to_start(stream: bool) -> None:
    _, refusal = outcome(always(error(400, "ValidationError", Message=AT_ZERO)), chat(stream=stream))
    assert refusal is not None
    assert (refusal.text, refusal.retry_in_ms) == (failures.AT_ZERO, 120_000)


def test_a_connection_that_closed_while_the_sandbox_was_frozen_costs_nobody_a_failure() -> None:
    def closes_the_second(_: Request, wire: Wire) -> None:
        if len(server.requests) == 2:
            wire.hang_up()
        else:
            wire.send(whole(WHOLE))

    with engine_for(closes_the_second) as (engine, server):
        for _ in range(2):
            assert isinstance(list(engine.open(COMPONENT, chat()))[-1], Finished)
        assert (len(server.requests), server.connections) == (3, 2)


@pytest.mark.parametrize("answer", [b"garbage that is no HTTP\r\n\r\n", b""])
def test_a_runtime_that_speaks_no_http_is_asked_once(answer: bytes) -> None:
    with engine_for(answer_then_hang_up(answer)) as (engine, server):
        with pytest.raises(EngineFailed):
            engine.open(COMPONENT, chat())
        assert len(server.requests) == 1


def test_a_complaint_of_the_container_is_shown() -> None:
    _, refusal = outcome(always(model_error(400, '{"error":{"message":"bad seed for model-a-component"}}')), chat())
    assert refusal is not None
    assert refusal.text == "bad seed for the model"


def stream_error(code: str) -> bytes:
    return exception("ModelStreamError", Message="it broke", ErrorCode=code)


HELLO = part(event(said("Hello")))
HEARD: list[object] = [Started("i-9"), Delta(said("Hello"), 1)]


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        pytest.param(
            (stream_error("ModelInvocationTimeExceeded"),),
            EngineTimedOut,
            id="took too long",
        ),
        pytest.param((stream_error("StreamBroken"),), EngineFailed, id="broken"),
        pytest.param((exception("InternalStreamFailure", Message="x"),), EngineFailed, id="a fault of SageMaker"),
        pytest.param((part(event(b'{"error":{"code":"engine_failed"}}')),), EngineFailed, id="error event"),
        pytest.param((part(b"data: {"),), EngineFailed, id="half an event"),
        pytest.param((HELLO[:20],), EngineFailed, id="half a frame"),
        pytest.param((b"garbage of some length",), EngineFailed, id="no frame"),
        pytest.param((), EngineFailed, id="nothing more"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_a_stream_that_breaks_gives_first_what_was_said(
    pieces: tuple[bytes, ...], kind: type[Refusal], together: bool
) -> None:
    sent = framed(HELLO + b"".join(pieces)) if together else framed(HELLO, *pieces)
    events, refusal = outcome(answer_then_hang_up(sent + LAST_CHUNK), chat(stream=True))
    assert (events, type(refusal)) == (HEARD, kind)


@pytest.mark.parametrize(("answer", "seen"), [(b"", 0), (framed(), 0), (framed(HELLO, HELLO[:9]), 2)])
def test_an_endpoint_that_hangs_times_out(answer: bytes, seen: int) -> None:
    events, refusal = outcome(always(answer), chat(stream=True), HALTING if seen else IMPATIENT)
    assert (len(events), type(refusal)) == (seen, EngineTimedOut)


def test_a_probe_reaches_the_container_behind_the_endpoint() -> None:
    with engine_for(always(whole(b'{"status":"ok","capacity":4,"in_flight":1,"queue_depth":2}'))) as (engine, server):
        assert engine.probe(COMPONENT) == Capacity(4, 1, 2)
        assert engine.probe(MULTI_MODEL) == Capacity(4, 1, 2)
    assert server.requests[0].headers["x-amzn-sagemaker-custom-attributes"] == "op=probe"
    assert server.requests[0].headers["x-amzn-sagemaker-inference-component"] == "model-a-component"
    assert server.requests[1].headers["x-amzn-sagemaker-target-model"] == "model-a.tar.gz"


def test_nothing_is_opened_before_the_first_call_and_threads_share_what_is() -> None:
    with engine_for(always(whole(WHOLE))) as (engine, server):
        assert server.connections == 0
        for _ in range(3):
            threads = [threading.Thread(target=lambda: engine.open(COMPONENT, chat()).close()) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(server.requests) == 24
        assert server.connections <= 8


@pytest.mark.parametrize("environment", [{}, {"AWS_SESSION_TOKEN": "session"}])
def test_the_gateways_own_role_signs_where_the_environment_says_it_is(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    own = {"AWS_ACCESS_KEY_ID": "AKIAOWN", "AWS_SECRET_ACCESS_KEY": "secret", **environment}
    with serving(always(whole(WHOLE))) as server:
        for name, value in (own | {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"{server.root}/"}).items():
            monkeypatch.setenv(name, value)
        SageMakerEngine(Settings(region="eu-west-1")).open(COMPONENT, chat()).close()
    headers = server.requests[0].headers
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAOWN/")
    assert "/eu-west-1/sagemaker/aws4_request" in headers["authorization"]
    assert headers.get("x-amz-security-token") == environment.get("AWS_SESSION_TOKEN")


def test_who_has_no_credentials_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Credentials:
        raise NoCredentials("NoCredentialsError")

    with serving(always(whole(WHOLE))) as server:
        calls = AwsCalls(server.root, Patience(1, 1), by_signature("sagemaker", "us-east-1", none, lambda: 0))
        with pytest.raises(EngineFailed) as caught:
            SageMakerEngine(Settings(), lambda _: calls).open(COMPONENT, chat())
        assert (caught.value.text, caught.value.symptom) == (failures.NO_CREDENTIALS, "NoCredentialsError")
        assert server.requests == []
