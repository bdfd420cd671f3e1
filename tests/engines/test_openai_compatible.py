"""Against real sockets: everything a target may do to us, and what is left behind afterwards."""

import threading

import msgspec
import pytest

from chalicelib.call import Call, Delta, Finished, Started, Usage, Waiting
from chalicelib.engines.openai_compatible import OpenAICompatibleEngine
from chalicelib.pool import Capacity, OpenAICompatible
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal, TooLarge
from chalicelib.settings import Settings
from tests.engines.answers import DONE, ENDED, STREAM, USAGE_CHUNK, WHOLE, chat, ending, event, said
from tests.engines.openai_server import HALTING, IMPATIENT, PATIENT, engine_for
from tests.engines.servers import (
    LAST_CHUNK,
    Handler,
    Request,
    Wire,
    always,
    answer_then_hang_up,
    chunk,
    head,
    stream_head,
    whole,
)
from tests.patience import PATIENCE_S


def outcome(handler: Handler, call: Call, settings: Settings = PATIENT) -> tuple[list[object], Refusal | None]:
    """What a caller sees: all events, and the refusal that ended them, also where `open` raised it."""
    with engine_for(handler, settings) as (engine, target, _):
        try:
            stream = engine.open(target, call)
        except Refusal as refusal:
            return [], refusal
        try:
            return ending(iter(stream))
        finally:
            stream.close()


def test_a_call_arrives_as_openai_has_it_with_our_headers() -> None:
    with engine_for(always(whole(WHOLE))) as (engine, target, server):
        for operation in ("chat.completions", "completions", "embeddings"):
            engine.open(target, chat(operation=operation)).close()
    assert [request.path for request in server.requests] == [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
    ]
    request = server.requests[0]
    assert request.method == "POST"
    assert {name: request.headers[name] for name in ("content-type", "x-request-id")} == {
        "content-type": "application/json",
        "x-request-id": "req-1",
    }
    assert request.headers["x-cloister-tenant"] == "tag-1"
    assert request.headers["x-cloister-priority"] == "5"
    assert msgspec.json.decode(request.body) == {
        "messages": [{"role": "user", "content": "Hi"}],
        "top_k": 3,
        "model": "org/model",
        "max_tokens": 16,
    }


def test_a_whole_answer_passes_byte_for_byte() -> None:
    answer = whole(WHOLE, x_instance_id="i-9", x_queue_time_ms="12")
    assert outcome(always(answer), chat()) == ([Started("i-9", 12), Delta(WHOLE, 2), Finished(Usage(7, 2))], None)


def test_an_instance_is_named_as_a_header_may_hold_it() -> None:
    """It is sent on to the caller; the name of a target is anything that an operator likes."""
    (started, *_), _ = outcome(always(whole(WHOLE, x_instance_id="i;9")), chat())
    assert started == Started("i_9")
    with engine_for(always(whole(WHOLE))) as (engine, target, _):
        named = msgspec.structs.replace(target, name="\u5b9e 1\r\nx: y")
        assert next(iter(engine.open(named, chat()))) == Started("__1__x:_y")


def test_a_whole_answer_may_end_with_its_connection() -> None:
    events, refusal = outcome(answer_then_hang_up(head(content_type="application/json"), WHOLE), chat())
    assert (events[1], refusal) == (Delta(WHOLE, 2), None)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param((stream_head(), chunk(STREAM), LAST_CHUNK), id="one chunk"),
        pytest.param(
            (stream_head(), *(chunk(STREAM[at : at + 7]) for at in range(0, len(STREAM), 7)), LAST_CHUNK), id="cut"
        ),
        pytest.param((head(content_type="text/event-stream"), STREAM), id="until the connection closes"),
        pytest.param(
            (head(content_type="text/event-stream", content_length=str(len(STREAM))), STREAM), id="of known length"
        ),
    ],
)
def test_a_stream_gives_the_same_events_however_http_frames_it(pieces: tuple[bytes, ...]) -> None:
    assert outcome(answer_then_hang_up(*pieces), chat(stream=True)) == (
        [Started("gpu-1"), Delta(said("Hello"), 1), Delta(said(" there"), 1), Finished(Usage(7, 2), USAGE_CHUNK)],
        None,
    )


UNANNOUNCED = event(said("Hello")) + event(ENDED) + event(USAGE_CHUNK)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param((stream_head(), chunk(UNANNOUNCED), LAST_CHUNK), id="chunked"),
        pytest.param((head(content_type="text/event-stream"), UNANNOUNCED), id="until the connection closes"),
    ],
)
def test_a_stream_that_has_told_why_it_ended_needs_no_done(pieces: tuple[bytes, ...]) -> None:
    assert outcome(answer_then_hang_up(*pieces), chat(stream=True)) == (
        [Started("gpu-1"), Delta(said("Hello"), 1), Delta(ENDED), Finished(Usage(7, 2), USAGE_CHUNK)],
        None,
    )


def test_a_stream_that_is_cut_before_it_was_over_has_failed_whatever_it_told() -> None:
    _, refusal = outcome(answer_then_hang_up(stream_head(), chunk(UNANNOUNCED)), chat(stream=True))
    assert isinstance(refusal, EngineFailed)


def test_the_first_token_is_here_while_later_ones_are_still_to_be_made() -> None:
    first_arrived = threading.Event()

    def gated(_: Request, wire: Wire) -> None:
        wire.send(stream_head(x_instance_id="i-9"), chunk(b": queue_position=1 predicted_start_ms=40\n\n"))
        wire.send(chunk(b": started queue_ms=40\n\n" + event(said("Hello"))))
        assert first_arrived.wait(PATIENCE_S)
        wire.send(chunk(event(said(" there")) + event(USAGE_CHUNK) + DONE), LAST_CHUNK)

    with engine_for(gated) as (engine, target, _):
        events = iter(engine.open(target, chat(stream=True)))
        assert [next(events) for _ in range(3)] == [Waiting(1, 40, "i-9"), Started("i-9", 40), Delta(said("Hello"), 1)]
        first_arrived.set()
        assert list(events)[-1] == Finished(Usage(7, 2), USAGE_CHUNK)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Malformed),
        (422, Malformed),
        (413, TooLarge),
        (401, EngineFailed),
        (403, EngineFailed),
        (404, EngineFailed),
        (408, EngineTimedOut),
        (504, EngineTimedOut),
        (429, NoCapacity),
        (503, NoCapacity),
        (500, EngineFailed),
        (502, EngineFailed),
        (302, EngineFailed),
        (204, EngineFailed),
    ],
)
def test_a_status_says_what_the_caller_can_do(status: int, kind: type[Refusal]) -> None:
    secret = b'{"error":{"message":"token for http://10.0.0.7 expired"}}'
    for stream in (False, True):
        events, refusal = outcome(always(whole(secret, status, location="http://10.0.0.8/")), chat(stream=stream))
        assert (events, type(refusal)) == ([], kind)
        assert refusal is not None
        assert "10.0.0" not in refusal.text or kind is Malformed


def test_a_full_target_says_when_to_come_back() -> None:
    _, refusal = outcome(always(whole(b"{}", 503, retry_after="3")), chat())
    assert isinstance(refusal, NoCapacity)
    assert refusal.retry_in_ms == 3_000


@pytest.mark.parametrize("value", ["soon", "nan", "inf", "-1", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_strange_retry_after_is_not_believed(value: str) -> None:
    _, refusal = outcome(always(whole(b"{}", 503, retry_after=value)), chat())
    assert isinstance(refusal, NoCapacity)
    assert refusal.retry_in_ms in (None, 0, 600_000)


def test_a_complaint_about_the_request_is_shown_short_on_one_line_and_without_our_addresses() -> None:
    with engine_for(lambda request, wire: wire.send(whole(complaint, 400))) as (engine, target, server):
        text = f"bad\r\nseed\x00 at {server.root}/v1 " + "x" * 1_000
        complaint = msgspec.json.encode({"error": {"message": text}})
        with pytest.raises(Malformed) as refused:
            engine.open(target, chat())
    assert refused.value.text.startswith("bad seed at the model xxx")
    assert len(refused.value.text) == 500


@pytest.mark.parametrize("body", [b"", b"<html>oops</html>", b"\xff", b'{"error":{"message":""}}'])
def test_a_complaint_without_a_text_gets_one(body: bytes) -> None:
    _, refusal = outcome(always(whole(body, 400)), chat())
    assert isinstance(refusal, Malformed)
    assert refusal.text == "The model says that the request is malformed."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"\x00\x01garbage that is no HTTP\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 999999\r\n\r\n", id="no status"),
        pytest.param(whole(b"<html>", content_type="text/html"), id="a web page"),
        pytest.param(whole(WHOLE)[:-20], id="half a body"),
        pytest.param(stream_head() + chunk(WHOLE)[:-20], id="half a chunk"),
        pytest.param(stream_head() + b"zz\r\n", id="no chunk length"),
        pytest.param(stream_head() + LAST_CHUNK, id="nothing"),
        pytest.param(stream_head() + chunk(b"data: {garbage}\n\n") + LAST_CHUNK, id="no JSON"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x-header: y\r\n" * 500 + b"\r\n", id="too many headers"),
        pytest.param(b"", id="no byte at all"),
    ],
)
def test_garbage_is_a_failed_engine_before_any_event(answer: bytes, stream: bool) -> None:
    events, refusal = outcome(answer_then_hang_up(answer), chat(stream=stream))
    assert (events, type(refusal)) == ([], EngineFailed)


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(chunk(b""), id="between events"),
        pytest.param(chunk(event(said(" there"))[:9]), id="within an event"),
        pytest.param(chunk(event(said(" there")))[:20], id="within a chunk"),
    ],
)
def test_a_target_that_dies_mid_stream_breaks_off_after_what_it_said(cut: bytes) -> None:
    cut = b"" if cut == chunk(b"") else cut
    answer = stream_head() + chunk(event(said("Hello"))) + cut
    events, refusal = outcome(answer_then_hang_up(answer), chat(stream=True))
    assert events == [Started("gpu-1"), Delta(said("Hello"), 1)]
    assert isinstance(refusal, EngineFailed)


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        pytest.param(b"", 0, id="at once"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", 0, id="in its head"),
        pytest.param(stream_head(), 0, id="before its first event"),
        pytest.param(stream_head() + chunk(event(said("Hello")) + b"data: {"), 2, id="within an event"),
    ],
)
def test_a_target_that_hangs_times_out(answer: bytes, seen: int) -> None:
    events, refusal = outcome(always(answer), chat(stream=True), HALTING if seen else IMPATIENT)
    assert (len(events), type(refusal)) == (seen, EngineTimedOut)


def test_a_target_that_only_ever_chatters_times_out() -> None:
    """Its bytes keep the connection from being silent, but no event comes of them."""

    def chatter(_: Request, wire: Wire) -> None:
        wire.send(stream_head())
        while True:
            wire.send(chunk(b": ping\n\n"))

    _, refusal = outcome(chatter, chat(stream=True), Settings(answer_deadline_ms=100))
    assert isinstance(refusal, EngineTimedOut)


def test_an_address_that_is_none_is_a_failed_engine() -> None:
    with pytest.raises(EngineFailed):
        OpenAICompatibleEngine(IMPATIENT).open(OpenAICompatible("odd", url="http://"), chat())


@pytest.mark.parametrize(
    ("url", "symptom"),
    [("http://127.0.0.1:9/v1", "ECONNREFUSED"), ("http://nowhere.invalid/v1", "name not resolved")],
)
def test_operators_hear_why_a_server_is_not_reached(url: str, symptom: str) -> None:
    with pytest.raises(EngineFailed) as caught:
        OpenAICompatibleEngine(PATIENT).open(OpenAICompatible("odd", url=url), chat())
    assert caught.value.symptom == symptom


def test_an_answer_without_end_is_cut_off() -> None:
    def endless(_: Request, wire: Wire) -> None:
        wire.send(stream_head())
        piece = chunk(b"x" * 1_000_000)
        while True:
            wire.send(piece)

    for stream in (False, True):
        _, refusal = outcome(endless, chat(stream=stream))
        assert isinstance(refusal, EngineFailed)


HEALTH = b'{"status":"ok","instance":"i-1","capacity":4,"in_flight":1,"queue_depth":2}'


@pytest.mark.parametrize(
    ("answers", "capacity"),
    [
        pytest.param({"/health": whole(HEALTH)}, Capacity(4, 1, 2, "i-1"), id="our container"),
        pytest.param({"/health": whole(b"")}, Capacity(3, 0, 0), id="vLLM"),
        pytest.param({"/health": whole(b'{"status":"ok"}')}, Capacity(3, 0, 0), id="llama.cpp"),
        pytest.param({"/v1/models": whole(b'{"data":[]}')}, Capacity(3, 0, 0), id="only models"),
        pytest.param({"/health": whole(HEALTH, 503)}, None, id="unwell"),
        pytest.param({}, None, id="neither"),
        pytest.param({"/health": b""}, None, id="hangs"),
        pytest.param({"/health": whole(b"x" * 100_000)}, None, id="talks too much"),
    ],
)
def test_a_probe_says_what_the_target_says(answers: dict[str, bytes], capacity: Capacity | None) -> None:
    def handler(request: Request, wire: Wire) -> None:
        wire.send(answers.get(request.path, whole(b"{}", 404)))

    with engine_for(handler) as (engine, target, server):
        try:
            found: Capacity | None = engine.probe(target)
        except (EngineFailed, EngineTimedOut):
            found = None
        assert found == capacity
        assert server.requests[0].path == "/health"


def test_a_caller_cannot_add_headers_by_the_request_id() -> None:
    with engine_for(always(whole(WHOLE))) as (engine, target, server):
        engine.open(target, chat(request_id="a\r\nX-Cloister-Priority: 9\x00ü"))
    assert server.requests[0].headers["x-request-id"] == "a__X-Cloister-Priority:_9__"
    assert server.requests[0].headers["x-cloister-priority"] == "5"


def test_a_whole_answer_that_drips_is_not_waited_for_until_its_lease_is_lost() -> None:
    def drips(_: Request, wire: Wire) -> None:
        wire.send(head(content_type="application/json", content_length="1000000"))
        while not wire_ends.wait(IMPATIENT.idle_deadline_ms / 5_000):
            wire.send(b" ")

    wire_ends = threading.Event()  # never set: a wire that was hung up ends its drip
    events, refusal = outcome(drips, chat(), IMPATIENT)
    assert (events, type(refusal)) == ([], EngineTimedOut)
