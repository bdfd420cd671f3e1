"""Against the local Bedrock on its bad days: busy, faulty, silent, gone in the middle."""

import threading
from collections.abc import Iterator

import msgspec
import pytest

from chalicelib.call import Call, Delta, Finished, Started
from chalicelib.engines.bedrock.access import ATTEMPTS
from chalicelib.engines.bedrock.engine import BedrockEngine
from chalicelib.engines.transport.bounds import monotonic_ms
from chalicelib.placement import Placement
from chalicelib.placement.health import Health
from chalicelib.pool import Bedrock, Pool
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal
from chalicelib.settings import Settings
from tests.engines.answers import ending
from tests.engines.bedrocks import (
    ANY_MODEL,
    HAIKU,
    ON_HAIKU,
    ON_NOVA,
    Clocks,
    LocalBedrock,
    anthropic,
    ask,
    chat,
    invoke,
    message,
    sandbox,
)
from tests.engines.openai_server import HALTING, IMPATIENT, NEVER_IDLE
from tests.engines.servers import (
    LAST_CHUNK,
    always,
    answer_then_hang_up,
    chunk,
    head,
    serving,
    whole,
)
from tests.patience import PATIENCE_S

BUSY = ["ThrottlingException", "ServiceUnavailableException", "ModelNotReadyException"]
STREAMS = [chat("a b c d", stream=True), message("a b c d", stream=True), invoke(HAIKU, anthropic("a b"), stream=True)]


def target_of(call: Call) -> Bedrock:
    return ANY_MODEL if call.operation == "invoke" else ON_HAIKU


@pytest.mark.parametrize("error", [*BUSY, "InternalServerException"])
@pytest.mark.parametrize("call", [chat(), chat(stream=True), message()])
def test_what_passes_is_tried_again_after_a_pause(bedrock: LocalBedrock, call: Call, error: str) -> None:
    bedrock.do("fail", error=error, times=2)
    clocks = Clocks()
    events = list(sandbox(clocks=clocks).open(ON_HAIKU, call))
    assert isinstance(events[-1], Finished)
    assert clocks.paused_ms == [100, 200]
    assert [call["status"] for call in bedrock.calls()][2:] == [200]


@pytest.mark.parametrize("error", BUSY)
def test_what_stays_busy_is_no_capacity_after_a_few_tries(bedrock: LocalBedrock, error: str) -> None:
    bedrock.do("fail", error=error, times=None)
    with pytest.raises(NoCapacity):
        sandbox().open(ON_HAIKU, chat())
    assert len(bedrock.calls()) == ATTEMPTS


def test_a_fault_that_stays_is_a_failed_engine(bedrock: LocalBedrock) -> None:
    bedrock.do("fail", error="InternalServerException", times=None)
    with pytest.raises(EngineFailed):
        sandbox().open(ON_HAIKU, chat())
    assert len(bedrock.calls()) == ATTEMPTS


def test_nothing_is_tried_again_past_the_callers_deadline(bedrock: LocalBedrock) -> None:
    bedrock.do("fail", error="ThrottlingException", times=None)
    with pytest.raises(NoCapacity):
        sandbox(settings=Settings(answer_deadline_ms=50)).open(ON_HAIKU, chat())
    assert len(bedrock.calls()) == 1


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        ("ModelErrorException", EngineFailed),
        ("ModelTimeoutException", EngineTimedOut),
        ("ValidationException", Malformed),
        ("AccessDeniedException", EngineFailed),
    ],
)
def test_what_does_not_pass_is_not_tried_again(bedrock: LocalBedrock, error: str, refusal: type[Refusal]) -> None:
    bedrock.do("fail", error=error, times=None)
    with pytest.raises(refusal):
        sandbox().open(ON_HAIKU, chat())
    assert len(bedrock.calls()) == 1


def test_a_quota_is_no_capacity(bedrock: LocalBedrock) -> None:
    bedrock.do("fail", error="ServiceQuotaExceededException", times=None)
    with pytest.raises(NoCapacity):
        sandbox().open(ON_HAIKU, chat())


def test_a_complaint_is_shown_without_any_arn(bedrock: LocalBedrock) -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    bedrock.do("fail", error="ValidationException", message=f"temperature: too hot for {arn}.")
    with pytest.raises(Malformed) as complaint:
        sandbox().open(ON_HAIKU, chat())
    assert complaint.value.text == "temperature: too hot for the model"


@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.operation)
def test_a_stream_that_is_cut_is_a_failed_engine(bedrock: LocalBedrock, call: Call) -> None:
    bedrock.do("cut", after_events=3)
    events, refusal = _streamed(sandbox(), call)
    assert isinstance(events[0], Started)
    assert not any(isinstance(event, Finished) for event in events)
    assert isinstance(refusal, EngineFailed)


@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.operation)
def test_a_stream_that_falls_silent_has_timed_out(bedrock: LocalBedrock, call: Call) -> None:
    bedrock.do("stall", after_events=3)
    events, refusal = _streamed(sandbox(settings=HALTING), call)
    assert isinstance(events[0], Started)
    assert isinstance(refusal, EngineTimedOut)


@pytest.mark.parametrize("call", [chat(), chat(stream=True), message()])
def test_a_model_that_says_nothing_at_all_has_timed_out_and_is_asked_once(bedrock: LocalBedrock, call: Call) -> None:
    bedrock.do("stall")
    with pytest.raises(EngineTimedOut):
        sandbox(settings=IMPATIENT).open(ON_HAIKU, call)
    assert len(bedrock.calls()) == 1


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        ("ThrottlingException", NoCapacity),
        ("ServiceUnavailableException", NoCapacity),
        ("ModelStreamErrorException", EngineFailed),
    ],
)
@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.operation)
def test_an_error_before_the_first_piece_comes_before_any_event(
    bedrock: LocalBedrock, call: Call, error: str, refusal: type[Refusal]
) -> None:
    bedrock.do("fail", error=error, after_events=0)
    events, raised = _streamed(sandbox(), call)
    assert events == []  # so that another target can still be tried
    assert isinstance(raised, refusal)


def test_a_converse_stream_that_fails_behind_its_head_has_given_nothing_yet(bedrock: LocalBedrock) -> None:
    bedrock.do("fail", error="ThrottlingException", after_events=1)  # after messageStart
    events, raised = _streamed(sandbox(), chat(stream=True))
    assert events == []
    assert isinstance(raised, NoCapacity)


@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.operation)
def test_a_stream_that_is_cut_before_its_first_event_has_given_nothing(bedrock: LocalBedrock, call: Call) -> None:
    bedrock.do("cut")
    events, raised = _streamed(sandbox(), call)
    assert events == []
    assert isinstance(raised, EngineFailed)


@pytest.mark.parametrize("after_events", [None, 0], ids=["refused", "in the stream"])
def test_the_next_region_answers_where_one_is_busy(bedrock: LocalBedrock, after_events: int | None) -> None:
    bedrock.do("fail", error="ThrottlingException", region="us-east-1", times=None, after_events=after_events)
    europe = Bedrock("eu-haiku", model=HAIKU, region="eu-central-1", weight=0)
    engines = {"bedrock": sandbox()}
    pool = Pool("model-a", (ON_HAIKU, europe))
    placement = Placement(engines, Health(Settings()), monotonic_ms, patience_ms=30_000)
    placed = placement.place(pool, None, chat(stream=True))
    assert placed.target is europe
    placed.stream.close()
    assert bedrock.calls()[0]["region"] == "us-east-1"


def test_half_of_a_whole_answer_is_a_failed_engine(bedrock: LocalBedrock) -> None:
    bedrock.do("cut", times=None)
    for call in (chat(), message()):
        with pytest.raises(EngineFailed):
            sandbox().open(ON_HAIKU, call)


def test_a_connection_that_was_closed_meanwhile_costs_one_more_try(
    bedrock: LocalBedrock, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = b'{"output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}},"stopReason":"end_turn","usage":{}}'
    with serving(answer_then_hang_up(whole(said))) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.root)
        engine = sandbox()
        for _ in range(3):
            assert isinstance(list(engine.open(ON_NOVA, chat()))[-1], Finished)


@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.operation)
def test_closing_from_another_thread_wakes_the_reader_and_cuts_the_connection(
    bedrock: LocalBedrock, call: Call
) -> None:
    bedrock.do("stall", after_events=3)
    stream = sandbox(settings=NEVER_IDLE).open(target_of(call), call)
    halfway = threading.Event()
    ended: list[Refusal | None] = []

    def read() -> None:
        def noticed() -> Iterator[object]:
            for event in stream:
                halfway.set()
                yield event

        ended.append(ending(noticed())[1])

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert halfway.wait(PATIENCE_S)
    stream.close()
    reader.join(PATIENCE_S)
    assert isinstance(ended[0], EngineFailed)


def test_a_stream_that_was_read_to_its_end_keeps_its_connection(bedrock: LocalBedrock) -> None:
    engine = sandbox()
    for call in STREAMS:
        stream = engine.open(target_of(call), call)
        assert isinstance(list(stream)[-1], Finished)
        stream.close()


@pytest.mark.parametrize("garbage", [b"not an event stream at all", b"\x00" * 64])
def test_garbage_is_a_failed_engine(bedrock: LocalBedrock, monkeypatch: pytest.MonkeyPatch, garbage: bytes) -> None:
    answer = head(content_type="application/vnd.amazon.eventstream", transfer_encoding="chunked")
    with serving(answer_then_hang_up(answer, chunk(garbage), LAST_CHUNK)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.root)
        for call in STREAMS:
            events, refusal = _streamed(sandbox(), call)
            assert events == []
            assert isinstance(refusal, EngineFailed)


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("body", [b"<html>a proxy's page</html>", b"[]", b"7", b'{"output":3}', b"\xff\xfe", b""])
def test_an_answer_that_is_not_bedrocks_is_a_refusal(
    bedrock: LocalBedrock, monkeypatch: pytest.MonkeyPatch, body: bytes, status: int
) -> None:
    count = ask("messages.count_tokens", {"messages": []}, ceiling_tokens=0)
    with serving(always(whole(body, status))) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.root)
        engine = sandbox()
        for call in (chat(), message(), chat(stream=True), count):
            with pytest.raises(Refusal):
                list(engine.open(ON_HAIKU, call))


def test_a_request_that_is_nested_too_deeply_is_the_callers_mistake(bedrock: LocalBedrock) -> None:
    engine = sandbox()
    for depth in (500, 900, 960, 980, 1_000, 5_000):
        schema = msgspec.Raw(b'{"a":' * depth + b"{}" + b"}" * depth)
        call = chat()
        tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
        deep = msgspec.structs.replace(call, fields={**call.fields, "tools": msgspec.Raw(msgspec.json.encode(tools))})
        try:
            list(engine.open(ON_HAIKU, deep))
        except Malformed:
            continue
        assert depth < 1_000


def _streamed(engine: BedrockEngine, call: Call) -> tuple[list[object], Refusal | None]:
    stream = engine.open(target_of(call), call)
    try:
        return ending(iter(stream))
    finally:
        stream.close()


def test_a_piece_tells_how_many_tokens_it_carries(bedrock: LocalBedrock) -> None:
    for call in STREAMS[:2]:
        events, _ = _streamed(sandbox(), call)
        assert sum(event.tokens for event in events if isinstance(event, Delta)) == 4
