"""What an answer says elsewhere than in its text is judged, too: its last chunk, names, complaints."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chalicelib.call import Call, Delta, Event, Finished, Operation, Pause, Source, Started, Usage
from chalicelib.engines.transport.streams import Fileless
from chalicelib.guardrails.streams import Judged
from chalicelib.refusal import ContentRefused, Malformed
from guard import Rule, Rules, Tools, compiled
from guard.bodies import Judge
from guard.bodies.texts import PIECES

GUARD = compiled(
    Rules(
        rules=(
            Rule("secret", r"word-\d{4}", "redact", "out"),
            Rule("bomb", "boom!", "refuse", "out"),
            Rule("loud", "[a-z-]{9,30}!", "redact", "out"),
        ),
        tools=Tools(blocked=("rm_*",)),
    )
)


class Told:
    """The stream of an engine that tells these events, and raises those that are errors."""

    source: Source = Fileless()

    def __init__(self, *events: Event | Exception) -> None:
        self._events = events

    def __iter__(self) -> Iterator[Event]:
        yield Started("i")
        for event in self._events:
            if isinstance(event, Exception):
                raise event
            yield event

    def close(self) -> None:
        """Nothing is held."""


def judged(*events: Event | Exception, operation: Operation = "chat.completions", stream: bool = True) -> list[Event]:
    call = Call("r", operation, "p", {}, stream, 1, 10, 1, "t")
    return list(Judged(Told(*events), call, Judge(GUARD, "out"), lambda _: None))


def data(said: Any) -> bytes:
    return msgspec.json.encode(said)


def chunk(delta: Any, **more: Any) -> Delta:
    return Delta(data({"choices": [{"index": 0, "delta": delta}], **more}), 1)


def text(events: list[Event]) -> str:
    return b"".join(event.data for event in events if isinstance(event, Delta | Finished)).decode()


@pytest.mark.parametrize("stream", [True, False])
def test_the_chunk_that_counts_says_nothing_that_a_rule_forbids(stream: bool) -> None:
    trace = {"metadata": {"usage": {}, "trace": {"guardrail": {"modelOutput": ["it is word-1234"]}}}}
    events = judged(Finished(Usage(), data(trace)), operation="converse", stream=stream)
    assert "it is [secret]" in text(events)
    with pytest.raises(ContentRefused):
        judged(Finished(Usage(), data({"__verbose": {"content": "boom!"}})), stream=stream)


@pytest.mark.parametrize("stream", [True, False])
def test_a_servers_complaint_quotes_nothing_that_a_rule_forbids(stream: bool) -> None:
    for said, shown in (("cannot parse: word-1234", "cannot parse: [secret]"), ("no boom!", "malformed")):
        with pytest.raises(Malformed) as refused:
            judged(Malformed(said), stream=stream)
        assert shown in refused.value.text
        assert "boom" not in refused.value.text
    for member in ("messages[0].word-1234", "model"):
        with pytest.raises(Malformed) as refused:
            judged(Malformed("no", field=member), stream=stream)
        assert refused.value.field == (member if member == "model" else None)


def test_a_name_that_a_model_makes_up_for_a_tool_is_judged_as_text_is() -> None:
    def call(name: str) -> Delta:
        return chunk({"tool_calls": [{"index": 0, "function": {"name": name, "arguments": ""}}]})

    assert '"name":"[secret]"' in text(judged(call("word-1234"), call("word-1234"), Finished(None)))
    for names in (("boom!",), ("word-12", "34")):
        with pytest.raises(ContentRefused):
            judged(*map(call, names))


def test_a_refused_chunk_counts_with_what_was_generated_for_it() -> None:
    call = Call("r", "chat.completions", "p", {}, True, 1, 10, 1, "t")
    tokens = 0
    with pytest.raises(ContentRefused):
        for event in Judged(
            Told(Delta(chunk({"content": "so: boom!"}).data, 500)), call, Judge(GUARD, "out"), lambda _: None
        ):
            tokens += event.tokens if isinstance(event, Delta) else 0
    assert tokens == 500


@pytest.mark.parametrize("stream", [True, False])
def test_a_call_of_coheres_is_one(stream: bool) -> None:
    with pytest.raises(ContentRefused) as refused:
        judged(
            Delta(data({"tool_calls": [{"name": "rm_all", "parameters": {}}]})),
            Finished(Usage()),
            operation="invoke",
            stream=stream,
        )
    assert refused.value.symptom == "tools"


@pytest.mark.parametrize("stream", [True, False])
def test_the_arguments_of_a_call_of_coheres_are_judged_whatever_its_parameters_are_called(stream: bool) -> None:
    said = {"tool_calls": [{"name": "f", "parameters": {"id": "word-1234", "model": "word-5678"}}]}
    shown = text(judged(Delta(data(said)), Finished(Usage()), operation="invoke", stream=stream))
    assert shown.count("[secret]") == 2 and "word-" not in shown


def test_a_call_of_coheres_in_pieces_is_judged_as_its_arguments_will_be_read() -> None:
    def piece(**delta: Any) -> Delta:
        return Delta(data({"event_type": "tool-calls-chunk", "tool_call_delta": {"index": 0, **delta}}))

    with pytest.raises(ContentRefused) as refused:
        judged(piece(name="rm_all"), operation="invoke")
    assert refused.value.symptom == "tools"
    pieces = [piece(parameters=each) for each in ('{"a": "word-\\u00', "31234", '"}')]
    assert "1234" not in text(judged(*pieces, Finished(None), operation="invoke"))


@pytest.mark.parametrize("stream", [True, False])
def test_what_a_model_says_as_if_it_were_a_medium_is_judged(stream: bool) -> None:
    said = "data:text/plain;base64,word-1234"
    choice = {"delta" if stream else "message": {"content": said}}
    assert "1234" not in text(judged(Delta(data({"choices": [choice]})), Finished(Usage()), stream=stream))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", PIECES)
def test_tokens_that_a_models_own_body_spells_its_text_by_are_left_out(stream: bool, name: str) -> None:
    said = {"generations": [{"text": "hi", name: [{"token": "word-"}, {"token": "1234"}]}]}
    events = judged(Delta(data(said)), Finished(Usage()), operation="invoke", stream=stream)
    assert "hi" in text(events) and "1234" not in text(events)


def test_what_a_models_chunks_are_called_stays() -> None:
    one, two = ({"event_type": "text-generation", "text": said} for said in ("hi ", "you "))
    events = judged(Delta(data(one)), Delta(data(two)), Finished(None), operation="invoke")
    said = [msgspec.json.decode(event.data) for event in events if isinstance(event, Delta)]
    assert [each["event_type"] for each in said] == ["text-generation"] * 2


def test_tokens_that_spell_a_delta_once_more_are_left_out() -> None:
    assert "1234" not in text(judged(chunk({"content": "hi", "token_ids": [1234]}), Finished(None)))


def test_a_text_that_a_server_tells_in_two_members_leaks_from_neither() -> None:
    def both(piece: str, **more: Any) -> Delta:
        return Delta(data({"choices": [{"index": 0, "delta": {"content": piece}, "text": piece, **more}]}), 1)

    events = judged(both("it is word-12"), both("34, so"), both("", finish_reason="stop"), Finished(None))
    choices = [msgspec.json.decode(event.data)["choices"][0] for event in events if isinstance(event, Delta)]
    told = [("".join(choice.get("delta", {}).get("content", "") for choice in choices))]
    told += ["".join(choice.get("text", "") for choice in choices)]
    assert told == ["it is [secret], so"] * 2
    with pytest.raises(ContentRefused):
        judged(both("boo"), both("m!"))


def test_a_loop_is_not_held_up_by_a_long_chunk_nor_by_rules_that_take_long() -> None:
    call = Call("r", "chat.completions", "p", {}, True, 1, 10, 1, "t")

    def pauses(judge: Judge, said: str) -> list[Event]:
        events = Judged(Told(chunk({"content": said}), Finished(None)), call, judge, lambda _: None)
        return [event for event in events if isinstance(event, Pause)]

    strained = Judge(GUARD, "out")
    strained.allowance.spend(strained.allowance.began_s() - 0.1, 0)
    assert pauses(Judge(GUARD, "out"), "hi") == []
    assert pauses(Judge(GUARD, "out"), "hi " * 10_000) == pauses(strained, "hi") == [Pause.LENGTHY]
