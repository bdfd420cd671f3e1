"""Answers in chunks, judged: however they are cut, no client sees what a rule forbids, and all see the same."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.call import Call, Delta, Event, Finished, Operation, Pause, Source, Started, Usage
from chalicelib.engines.transport.streams import Fileless
from chalicelib.guardrails.streams import Judged
from chalicelib.refusal import ContentRefused
from guard import Rule, Rules, Tools, compiled
from guard.bodies import Judge
from guard.bodies.wires import WIRES

RULES = Rules(
    rules=(
        Rule("secret", r"\bword-\d{4}\b", "redact", "out"),
        Rule("bomb", r"boom!", "refuse", "out"),
        Rule("hot", r"warm|hot", "flag", "out"),
    ),
    tools=Tools(blocked=("delete_*",)),
)
PIECES = st.text(alphabet="word-0123 ñ\u20ac\U0001f600", max_size=6)
TEXTS = st.lists(
    st.one_of(PIECES, st.sampled_from(["word-1234", " word-12345", "boom", "boom!", "hot", "\n"])), max_size=8
).map("".join)


class Told:
    """The stream of an engine that has told these chunks, and pauses between them."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = list(chunks)
        self.closed = 0

    @property
    def source(self) -> Source:
        return Fileless()

    def __iter__(self) -> Iterator[Event]:
        yield Started("i")
        for chunk in self._chunks:
            yield Pause.LULL
            yield Delta(chunk, 1)
        yield Finished(Usage(3, len(self._chunks)))

    def close(self) -> None:
        self.closed += 1


class Field(NamedTuple):
    """A text of an answer in some dialect: how its pieces are told, how its answer begins and ends, how it is read."""

    operation: Operation
    piece: Any
    begin: tuple[Any, ...]
    end: tuple[Any, ...]
    read: Any


def _chat(name: str) -> Field:
    def delta(text: str) -> Any:
        return {"id": "c1", "choices": [{"index": 0, "delta": {name: text}, "finish_reason": None}]}

    return Field(
        "chat.completions",
        delta,
        ({"id": "c1", "choices": [{"index": 0, "delta": {"role": "assistant"}}]},),
        ({"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},),
        lambda said: said["choices"][0].get("delta", {}).get(name) or "",
    )


def _block(name: str, kind: str) -> Field:
    return Field(
        "messages",
        lambda text: {"type": "content_block_delta", "index": 1, "delta": {"type": kind, name: text}},
        (
            {"type": "message_start", "message": {"id": "m", "content": []}},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        ),
        ({"type": "content_block_stop", "index": 1}, {"type": "message_stop"}),
        lambda said: said.get("delta", {}).get(name) or "",
    )


def _converse(path: tuple[str, ...]) -> Field:
    def piece(text: str) -> Any:
        inner: Any = text
        for name in reversed(path):
            inner = {name: inner}
        return {"contentBlockDelta": {"contentBlockIndex": 2, "delta": inner}}

    def read(said: Any) -> str:
        inner = said.get("contentBlockDelta", {}).get("delta", {})
        for name in path:
            inner = inner.get(name, {})
        return inner or ""

    begin = ({"messageStart": {"role": "assistant"}},)
    end = ({"contentBlockStop": {"contentBlockIndex": 2}}, {"messageStop": {"stopReason": "end_turn"}})
    return Field("converse", piece, begin, end, read)


FIELDS = {
    "content": _chat("content"),
    "reasoning": _chat("reasoning_content"),
    "a member that nobody knows": _chat("whispers"),
    "completion": Field(
        "completions",
        lambda text: {"choices": [{"index": 0, "text": text, "finish_reason": None}]},
        (),
        ({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]},),
        lambda said: said["choices"][0].get("text") or "",
    ),
    "message": _block("text", "text_delta"),
    "thinking": _block("thinking", "thinking_delta"),
    "converse": _converse(("text",)),
    "converse's reasoning": _converse(("reasoningContent", "text")),
    "llama's own": Field(
        "invoke",
        lambda text: {"generation": text, "stop_reason": None},
        (),
        ({"generation": "", "stop_reason": "stop"},),
        lambda said: said.get("generation") or "",
    ),
    "titan's own": Field(
        "invoke",
        lambda text: {"outputText": text, "index": 0, "completionReason": None},
        (),
        ({"outputText": "", "index": 0, "completionReason": "FINISH"},),
        lambda said: said.get("outputText") or "",
    ),
    "mistral's own": Field(
        "invoke",
        lambda text: {"outputs": [{"text": text, "stop_reason": None}]},
        (),
        ({"outputs": [{"text": "", "stop_reason": "stop"}]},),
        lambda said: said["outputs"][0].get("text") or "",
    ),
    "cohere's own": Field(
        "invoke",
        lambda text: {"event_type": "text-generation", "text": text, "is_finished": False},
        (),
        ({"event_type": "stream-end", "is_finished": True, "finish_reason": "COMPLETE"},),
        lambda said: said.get("text") or "",
    ),
    "jamba's own": _chat("content")._replace(operation="invoke"),
    "deepseek's own": Field(
        "invoke",
        lambda text: {"choices": [{"index": 0, "text": text, "stop_reason": None}]},
        (),
        ({"choices": [{"index": 0, "text": "", "stop_reason": "stop", "finish_reason": "stop"}]},),
        lambda said: said["choices"][0].get("text") or "",
    ),
    "nova's own": _converse(("text",))._replace(operation="invoke"),
    "claude's own": _block("text", "text_delta")._replace(operation="invoke"),
}
every_field = pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())


def call(operation: Operation, *, stream: bool = True) -> Call:
    return Call("r", operation, "p", {}, stream, 1, 10, 1, "t")


class Seen(NamedTuple):
    """What a client got."""

    chunks: list[Any]
    tokens: int
    refused: str  # by which rule


def seen(chunks: Iterable[Any], operation: Operation, findings: dict[str, int] | None = None) -> Seen:
    told = Told(msgspec.json.encode(chunk) for chunk in chunks)
    judged = Judged(
        told, call(operation), Judge(compiled(RULES), "out"), (findings if findings is not None else {}).update
    )
    got, tokens, refused = [], 0, ""
    try:
        for event in judged:
            if isinstance(event, Delta):
                got.append(msgspec.json.decode(event.data))
                tokens += event.tokens
    except ContentRefused as refusal:
        refused = refusal.symptom
    judged.close()
    judged.close()
    assert told.closed == 2
    return Seen(got, tokens, refused)


def cut(text: str, at: list[int]) -> list[str]:
    places = [0, *sorted(place % (len(text) + 1) for place in at), len(text)]
    return [text[begin:end] for begin, end in pairwise(places)]


@every_field
@given(text=TEXTS, at=st.lists(st.integers(0, 200), max_size=12))
def test_however_an_answer_is_cut_its_client_sees_what_the_whole_would_show(
    field: Field, text: str, at: list[int]
) -> None:
    expected = compiled(RULES).judge(text, "out")
    pieces = cut(text, at)
    got = seen([*field.begin, *map(field.piece, pieces), *field.end], field.operation)
    assert "".join(map(field.read, got.chunks)) == expected.text
    assert got.refused == (expected.refused or "")
    if not got.refused:
        assert got.tokens == len(field.begin) + len(pieces) + len(field.end)
        assert ended(got.chunks[-1]) == ended(field.end[-1])


def ended(chunk: Any) -> list[str]:
    """Why an answer ended, as its last chunk says."""
    return re.findall(r"'(?:type|stopReason|finish_reason|stop_reason)': '(\w+)'", str(chunk))


@every_field
def test_no_chunk_waits_for_more_than_a_match_may_need(field: Field) -> None:
    got = seen([*field.begin, field.piece("all is well"), field.piece(" word-12"), field.piece("34 then"), *field.end],
               field.operation)  # fmt: skip
    texts = [field.read(chunk) for chunk in got.chunks if field.read(chunk)]
    assert texts[0].startswith("all is wel")
    assert "".join(texts) == "all is well [secret] then"


@every_field
def test_an_answer_that_is_refused_ends_as_its_dialect_says(field: Field) -> None:
    got = seen([*field.begin, field.piece("so: bo"), field.piece("om! and more"), *field.end], field.operation)
    assert "".join(map(field.read, got.chunks)) == "so: "
    assert got.refused == "bomb"
    ends: dict[Operation, Callable[[Any], bool]] = {
        "chat.completions": lambda last: last["choices"][0]["finish_reason"] == "content_filter",
        "completions": lambda last: last["choices"][0]["finish_reason"] == "content_filter",
        "messages": lambda last: last["delta"]["stop_reason"] == "refusal",
        "converse": lambda last: last["messageStop"]["stopReason"] == "content_filtered",
    }
    assert ends.get(field.operation, lambda last: "more" not in str(last))(got.chunks[-1])


def test_flags_are_counted_and_change_nothing() -> None:
    field, findings = FIELDS["content"], dict[str, int]()
    got = seen([field.piece("how h"), field.piece("ot and warm, word-1234"), *field.end], field.operation, findings)
    assert "".join(map(field.read, got.chunks)) == "how hot and warm, [secret]"
    assert findings == {"hot": 2, "secret": 1}


def test_a_last_piece_comes_with_the_end_and_after_what_was_held_back() -> None:
    last = {"choices": [{"index": 0, "delta": {"content": "34 d"}, "finish_reason": "stop"}]}
    got = seen([FIELDS["content"].piece("a word-12"), last], "chat.completions")
    assert "".join(map(FIELDS["content"].read, got.chunks)) == "a [secret] d"
    assert got.chunks[-1]["choices"][0]["finish_reason"] == "stop"


def _arguments(text: str, index: int = 0, **function: str) -> Any:
    called = {"index": index, "function": {**function, "arguments": text}}
    return {"choices": [{"index": 0, "delta": {"tool_calls": [called]}}]}


def _gained(chunks: list[Any], index: int) -> str:
    return "".join(
        each["function"].get("arguments") or ""
        for chunk in chunks
        for each in chunk["choices"][0]["delta"].get("tool_calls") or ()
        if each["index"] == index
    )


@given(at=st.lists(st.integers(0, 60), max_size=8), other=st.lists(st.integers(0, 60), max_size=8))
def test_arguments_of_several_calls_are_judged_each_for_itself(at: list[int], other: list[int]) -> None:
    first, second = '{"code": "w\\u006frd-1234", "n": 1}', '{"code": "word-999"}'
    pieces = [_arguments(piece, 0) for piece in cut(first, at)]
    more = [_arguments(piece, 1) for piece in cut(second, other)]
    mixed = [piece for pair in zip(pieces, more, strict=False) for piece in pair]
    rest = [*pieces[len(more) :], *more[len(pieces) :]]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    got = seen([*mixed, *rest, end], "chat.completions")
    assert _gained(got.chunks, 0) == '{"code": "[secret]", "n": 1}'
    assert _gained(got.chunks, 1) == second


@pytest.mark.parametrize("names", [["delete_all"], ["dele", "te_all"]])
def test_a_tool_that_is_blocked_is_not_called(names: list[str]) -> None:
    got = seen([*(_arguments("", name=name) for name in names), _arguments("{}")], "chat.completions")
    assert got.refused == "tools"
    assert got.chunks[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert "delete_all" not in str(got.chunks)


def test_a_tool_that_is_allowed_may_be_named_in_each_chunk() -> None:
    got = seen([_arguments("{", name="look_up"), _arguments("}", name="look_up")], "chat.completions")
    assert (got.refused, _gained(got.chunks, 0)) == ("", "{}")


def test_choices_are_judged_each_for_itself() -> None:
    def said(index: int, text: str) -> Any:
        return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}]}

    got = seen([said(0, "word-12"), said(1, "34"), said(0, "34 ")], "chat.completions")
    shown = ["", ""]
    for chunk in got.chunks:
        shown[chunk["choices"][0]["index"]] += chunk["choices"][0]["delta"]["content"]
    assert shown == ["[secret] ", "34"]


def test_what_spells_an_answer_once_more_is_left_out() -> None:
    spelt = {"content": [{"token": "wo", "bytes": [119]}, {"token": "rd-1234"}]}
    choice = {"index": 0, "delta": {"content": "word-1234"}, "logprobs": spelt, "token_ids": [1, 2]}
    got = seen([{"choices": [choice], "prompt_token_ids": [4]}], "chat.completions")
    assert got.chunks[0]["choices"][0] == {"index": 0, "delta": {"content": ""}, "logprobs": None, "token_ids": None}
    assert got.chunks[0]["prompt_token_ids"] is None


def test_every_operation_that_engines_stream_has_a_wire() -> None:
    assert {field.operation for field in FIELDS.values()} == set(WIRES)
