"""The suite that every engine must pass: what the protocol says, said of every kind of target."""

import threading
from collections.abc import Iterator
from typing import get_args

import msgspec
import pytest

from chalicelib.call import AS_CHATS, Call, Delta, Event, Finished, Operation, Started, Stream, Usage, Waiting
from chalicelib.dialects.failures import UNREACHABLE
from chalicelib.engines import Engine, begin
from chalicelib.pool import Capacity, Target
from chalicelib.refusal import EngineFailed, EngineTimedOut, Malformed, NoCapacity, Refusal, TooLarge
from chalicelib.wiring import ENGINES
from tests.engines import messages, responses
from tests.engines.answers import ending
from tests.engines.harnesses import HARNESSES, Harness
from tests.engines.wired import CEILING, USAGE, Deed
from tests.patience import PATIENCE_S

OPERATIONS: tuple[Operation, ...] = get_args(Operation)
RIVALS = dict.fromkeys(("max_tokens", "max_completion_tokens", "max_new_tokens", "n_predict", "n_cmpl"), 999)
CONVERSES: dict[str, object] = {
    "inferenceConfig": {"maxTokens": 999},
    "additionalModelRequestFields": {
        **dict.fromkeys(("max_tokens", "max_completion_tokens", "max_new_tokens", "max_gen_len"), 999),
        "inferenceConfig": {"maxTokens": 999, "max_new_tokens": 999, "topK": 5},
        "textGenerationConfig": {"maxTokenCount": 999},
    },
}
"""Those that a Converse request may name, whatever its model."""


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def outcome(engine: Engine[Target], target: Target, call: Call) -> tuple[list[object], Refusal | None]:
    """All events, and the refusal that ended them, also where `open` raised it."""
    try:
        stream = engine.open(target, call)
    except Refusal as refusal:
        return [], refusal
    try:
        return ending(iter(stream))
    finally:
        stream.close()


def refused(there: Harness, call: Call, *, after_events: bool = False) -> Refusal:
    """What the call ends with; every refusal keeps the target's addresses to itself."""
    events, refusal = outcome(there.engine, there.target, call)
    assert refusal is not None
    assert bool(events) == after_events
    assert not any(isinstance(each, Finished) for each in events)
    assert not [secret for secret in there.secrets if secret in refusal.text]
    return refusal


def in_order(events: list[Event]) -> bool:
    """`Waiting`* `Started` `Delta`* `Finished`."""
    letters: dict[type, str] = {Waiting: "w", Started: "s", Delta: "d", Finished: "f"}
    word = "".join(letters[type(event)] for event in events)
    return word.lstrip("w").startswith("s") and word.lstrip("w")[1:].lstrip("d") == "f"


def events_of(stream: Stream) -> list[Event]:
    try:
        return list(stream)
    finally:
        stream.close()


def test_every_kind_of_target_is_in_this_suite() -> None:
    kinds = {harness.kind for harness in HARNESSES.values()}
    assert kinds == set(get_args(Target))
    assert set(ENGINES) <= {str(kind.__struct_config__.tag) for kind in kinds}


# What is answered


@both
def test_an_answer_is_its_events_in_order_and_one_end(there: Harness, stream: bool) -> None:
    assert in_order(events_of(there.engine.open(there.target, there.call("chat.completions", stream=stream))))


def test_a_whole_answer_is_one_delta(there: Harness) -> None:
    events = events_of(there.engine.open(there.target, there.call("chat.completions")))
    assert [type(event) for event in events] == [Started, Delta, Finished]


def _named(events: list[Event]) -> list[object]:
    """The model's name in each text of an answer that has one."""
    told = [msgspec.json.decode(each.data) for each in events if isinstance(each, Delta | Finished) and each.data]
    holders = [each.get("message", each) for each in told]  # a Message's first event has the message's
    return [each["model"] for each in holders if "model" in each or "choices" in each or "data" in each]


@both
@pytest.mark.parametrize("alias", ["", "gpt-4o", "meta-llama/Llama-3.1-8B", "claude-sonnet-4:latest"])
def test_an_answer_names_the_model_as_it_was_asked_for(there: Harness, stream: bool, alias: str) -> None:
    for operation in ("chat.completions", "completions", "embeddings", "messages"):
        call = msgspec.structs.replace(there.call(operation, stream=stream), alias=alias)
        spoken = there.engine.speaks(there.target)
        if operation not in spoken and operation != "messages":
            continue
        named = _named(events_of(begin(there.engine, there.target, call)))
        assert named
        assert set(named) == {alias or call.pool}, operation


@both
def test_usage_is_what_the_target_reported(there: Harness, stream: bool) -> None:
    *_, last = events_of(there.engine.open(there.target, there.call("chat.completions", stream=stream)))
    assert isinstance(last, Finished)
    assert last.usage == USAGE


def test_what_an_engine_says_that_it_speaks_it_does_not_refuse(there: Harness) -> None:
    for operation in there.engine.speaks(there.target):
        assert in_order(events_of(there.engine.open(there.target, there.call(operation)))), operation


def test_the_reserved_ceiling_and_no_other_reaches_the_target(there: Harness) -> None:
    for operation in set(there.engine.speaks(there.target)) - {"embeddings", "messages.count_tokens"}:
        # A model's own body names its own, and so does a Message: nobody knows another there.
        own: dict[str, dict[str, object]] = {"invoke": {}, "converse": CONVERSES, "messages": {"max_tokens": 999}}
        rivals = own.get(operation, {**RIVALS})
        events_of(there.engine.open(there.target, there.call(operation, fields=rivals)))
        assert set(there.heard[-1].ceilings) == {CEILING}, operation


# What is refused


@both
def test_what_the_target_finds_malformed_is_the_callers_to_mend(there: Harness, stream: bool) -> None:
    there.deed = "find malformed"
    refusal = refused(there, there.call("chat.completions", stream=stream))
    assert type(refusal) is Malformed
    assert "bad seed" in refusal.text


@both
@pytest.mark.parametrize(
    ("deed", "kind"),
    [
        ("find too large", TooLarge),
        ("be full", NoCapacity),
        ("break off", EngineFailed),
    ],
)
def test_a_target_that_does_not_answer_says_which_move_is_the_next(
    there: Harness, deed: Deed, kind: type[Refusal], stream: bool
) -> None:
    there.deed = deed
    assert type(refused(there, there.call("chat.completions", stream=stream))) is kind


@both
def test_a_target_that_is_gone_has_failed(there: Harness, stream: bool) -> None:
    engine, target = there.gone
    events, refusal = outcome(engine, target, there.call("chat.completions", stream=stream))
    assert (events, type(refusal)) == ([], EngineFailed)
    assert refusal is not None
    assert refusal.text == UNREACHABLE


@pytest.mark.parametrize("deed", ["break off midway", "end midway"])
def test_a_stream_without_its_end_is_a_failed_engine_after_what_it_said(there: Harness, deed: Deed) -> None:
    there.deed = deed
    assert type(refused(there, there.call("chat.completions", stream=True), after_events=True)) is EngineFailed


def test_half_of_a_whole_answer_is_a_failed_engine(there: Harness) -> None:
    there.deed = "break off midway"
    assert type(refused(there, there.call("chat.completions"))) is EngineFailed


@both
@pytest.mark.parametrize("deed", ["be silent", "be silent midway"])
def test_a_target_that_is_silent_has_timed_out(there: Harness, deed: Deed, stream: bool) -> None:
    there.deed = deed
    events, refusal = outcome(there.impatient, there.target, there.call("chat.completions", stream=stream))
    assert type(refusal) is EngineTimedOut
    assert not any(isinstance(each, Finished) for each in events)
    assert there.was_left()


# Closing


def test_closing_from_another_thread_wakes_the_reader_and_stops_the_generation(there: Harness) -> None:
    there.deed = "be silent midway"
    stream = there.engine.open(there.target, there.call("chat.completions", stream=True))
    halfway = threading.Event()
    ended: list[Refusal | None] = []

    def noticed() -> Iterator[object]:
        for event in stream:
            if isinstance(event, Delta):
                halfway.set()
            yield event

    reader = threading.Thread(target=lambda: ended.append(ending(noticed())[1]), daemon=True)
    reader.start()
    assert halfway.wait(PATIENCE_S)
    stream.close()
    reader.join(PATIENCE_S)
    assert [type(refusal) for refusal in ended] == [EngineFailed]
    assert there.was_left()


def test_closing_a_stream_that_nobody_reads_stops_the_generation(there: Harness) -> None:
    there.deed = "be silent midway"
    stream = there.engine.open(there.target, there.call("chat.completions", stream=True))
    stream.close()
    assert there.was_left()
    with pytest.raises(EngineFailed):
        next(iter(stream))


@both
@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
def test_a_stream_may_be_closed_any_number_of_times_by_anybody(there: Harness, stream: bool, read: bool) -> None:
    opened = there.engine.open(there.target, there.call("chat.completions", stream=stream))
    if read:
        list(opened)
    closers = [threading.Thread(target=opened.close) for _ in range(4)]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join(PATIENCE_S)
    opened.close()
    assert in_order(events_of(there.engine.open(there.target, there.call("chat.completions", stream=stream))))


# Questions


def test_a_probe_is_what_the_target_says_of_itself(there: Harness) -> None:
    assert there.engine.probe(there.target) == there.capacity


@pytest.mark.parametrize(
    "deed", ["find malformed", "find too large", "be full", "break off", "break off midway", "be silent", "drip"]
)
def test_a_probe_ends_soon_whatever_the_target_does(there: Harness, deed: Deed) -> None:
    there.deed = deed
    found: list[object] = []

    def probe() -> None:
        try:
            found.append(there.engine.probe(there.target))
        except Refusal as refusal:
            found.append(refusal)

    asking = threading.Thread(target=probe, daemon=True)
    asking.start()
    asking.join(PATIENCE_S)
    assert [type(each) in (Capacity, EngineFailed, EngineTimedOut) for each in found] == [True], found
    if deed == "be silent":
        assert there.was_left()


def test_a_probe_of_a_target_that_is_gone_fails(there: Harness) -> None:
    engine, target = there.gone
    with pytest.raises(EngineFailed):
        engine.probe(target)


def test_without_an_enclave_there_is_nobody_to_open_what_is_sealed(there: Harness) -> None:
    with pytest.raises(NoCapacity):
        there.engine.consult(there.target, b"a ticket and a question")
    sealed = msgspec.structs.replace(there.call("chat.completions"), sealed=b"a ticket and what it permits to open")
    assert type(refused(there, sealed)) is NoCapacity


# Messages


@both
def test_messages_are_answered_by_every_kind_that_speaks_chats(there: Harness, stream: bool) -> None:
    spoken = there.engine.speaks(there.target)
    assert "chat.completions" in spoken
    events = events_of(
        begin(there.engine, there.target, there.call("messages", stream=stream, fields={"max_tokens": 999}))
    )
    told = [msgspec.json.decode(event.data) for event in events if isinstance(event, Delta)]
    if stream:
        assert [each["type"] for each in told] == [each["type"] for each in messages.STREAM]
    else:
        assert [each["content"] for each in told] == [messages.WHOLE["content"]]
    assert in_order(events)
    assert isinstance(events[-1], Finished)
    assert events[-1].usage == USAGE
    assert there.heard[-1].ceilings == (CEILING,)
    assert "messages" in spoken or there.heard[-1].what == "chat.completions"


def test_tokens_are_counted_by_every_kind_that_speaks_chats(there: Harness) -> None:
    events = events_of(begin(there.engine, there.target, there.call("messages.count_tokens")))
    assert [msgspec.json.decode(event.data) for event in events if isinstance(event, Delta)] == [{"input_tokens": 7}]
    assert in_order(events)
    assert isinstance(events[-1], Finished)
    assert events[-1].usage is not None
    assert events[-1].usage.completion_tokens == 0
    if "messages.count_tokens" not in there.engine.speaks(there.target):
        assert there.heard[-1].ceilings == (1,)
        assert events[-1].usage == Usage(7)


@both
def test_completions_are_answered_by_every_kind_that_speaks_chats(there: Harness, stream: bool) -> None:
    events = events_of(
        begin(there.engine, there.target, there.call("completions", stream=stream, fields={"prompt": "Hello"}))
    )
    told = [msgspec.json.decode(event.data) for event in events if isinstance(event, Delta)]
    texts = [choice["text"] for each in told for choice in each.get("choices", ()) if "text" in choice]
    if "completions" not in there.engine.speaks(there.target):
        assert {each["object"] for each in told} == {"text_completion"}
        assert "".join(texts) == "Hello there"
        assert there.heard[-1].what == "chat.completions"
    assert in_order(events)
    assert isinstance(events[-1], Finished)
    assert events[-1].usage == USAGE


@both
def test_responses_are_answered_by_every_kind_that_speaks_chats(there: Harness, stream: bool) -> None:
    ceiling = {"max_output_tokens": 999}
    events = events_of(begin(there.engine, there.target, there.call("responses", stream=stream, fields=ceiling)))
    told = [msgspec.json.decode(event.data) for event in events if isinstance(event, Delta)]
    if stream:
        assert [each["type"] for each in told if each["type"] != "response.output_text.delta"] == [
            each for each in responses.STREAM if each != "response.output_text.delta"
        ]
        assert [each["sequence_number"] for each in told] == [*range(len(told))]
    response = told[-1]["response"] if stream else told[-1]
    assert [part["text"] for part in response["output"][0]["content"]] == ["Hello there"]
    assert in_order(events)
    assert isinstance(events[-1], Finished)
    assert events[-1].usage == USAGE
    assert there.heard[-1].ceilings == (CEILING,)
    assert "responses" in there.engine.speaks(there.target) or there.heard[-1].what == "chat.completions"


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("responses", {"conversation": "conv_1"}),
    ],
)
def test_what_a_chat_cannot_say_is_refused_and_never_reaches_the_target(
    there: Harness, operation: Operation, fields: dict[str, object]
) -> None:
    call = there.call(operation, fields=fields)
    if operation in there.engine.speaks(there.target):
        assert in_order(events_of(begin(there.engine, there.target, call)))
        return
    with pytest.raises(Malformed):
        begin(there.engine, there.target, call)
    assert there.heard == []


def test_what_an_engine_does_not_speak_is_refused_and_never_reaches_the_target(there: Harness) -> None:
    for operation in {*OPERATIONS} - {*AS_CHATS, "completions"} - {*there.engine.speaks(there.target)}:
        with pytest.raises(Malformed, match=operation):
            begin(there.engine, there.target, there.call(operation))
    assert there.heard == []
