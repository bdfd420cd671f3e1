"""What a chunk says is told from the one before it, and is what it would say by itself."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.call import Delta, Event, Finished, Started
from chalicelib.dialects.openai import Translator
from chalicelib.dialects.same_again import SameAgain
from chalicelib.pool import OpenAICompatible
from chalicelib.refusal import EngineFailed
from tests.engines.answers import DONE, event, said

TARGET = OpenAICompatible("gpu-1", url="http://10.0.0.7:8000/v1")
TEXTS = st.text(st.characters(codec="utf-8"), max_size=4) | st.sampled_from(['"', "\\", "\n", "\r", "data: ", '","'])


def choice(**members: Any) -> dict[str, Any]:
    return {"index": 0, "finish_reason": None, **members}


def named(choices: list[Any], **members: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "model": "theirs", "choices": choices, **members}


def chunks() -> st.SearchStrategy[dict[str, Any]]:
    """Mostly like each other, as a server's are."""
    member = st.sampled_from(["content", "content", "content", "reasoning_content", "reasoning", "refusal"])
    texts = st.builds(lambda name, text: named([choice(delta={name: text})]), member, TEXTS)
    others = st.sampled_from(
        [
            named([choice(delta={"role": "assistant", "content": ""})]),
            named([choice(delta={"content": "a"}, index=1)]),
            named([choice(delta={"content": "a"}), choice(delta={"content": "a"}, index=1)]),
            named([choice(delta={"content": "a"}, logprobs={"content": "a"})]),
            named([choice(delta={"content": None, "tool_calls": [{"index": 0}]})]),
            named([choice(delta={"content": "a"}, finish_reason="stop")]),
            named([choice(text="a")]),
            named([choice(delta={"content": "long" * 2_000})]),
            named([choice(delta={"content": "a"})], usage={"prompt_tokens": 1, "completion_tokens": 1}),
            named([choice(delta={"content": "a"})], inner={"model": "theirs", "content": "b"}),
            named([]),
        ]
    )
    return texts | texts | texts | others


def tokens(chunk: dict[str, Any]) -> int:
    gains = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls")
    return sum(
        any(each["delta"].get(name) for name in gains) if "delta" in each else bool(each["text"])
        for each in chunk["choices"]
    )


def told(translator: Translator, *pieces: bytes) -> list[Event]:
    return [each for piece in pieces for each in translator.feed(piece)]


@given(
    st.lists(chunks(), min_size=1, max_size=12),
    st.sampled_from([(",", ":"), (", ", ": ")]),
    st.booleans(),
    st.sampled_from(["", "theirs", "ours", 'o"s']),
    st.booleans(),
)
def test_every_chunk_is_told_as_it_is_but_for_the_models_name(
    said: list[dict[str, Any]], separators: tuple[str, str], ascii_alone: bool, model: str, together: bool
) -> None:
    wires = [event(json.dumps(each, separators=separators, ensure_ascii=ascii_alone).encode()) for each in said]
    events = told(Translator(TARGET, "i", model=model), *([b"".join(wires)] if together else wires), DONE)
    deltas = [each for each in events if isinstance(each, Delta)]
    assert [json.loads(each.data) for each in deltas] == [{**each, "model": model or "theirs"} for each in said]
    assert [each.tokens for each in deltas] == [tokens(each) for each in said]
    assert isinstance(events[0], Started) and isinstance(events[-1], Finished)


def test_chunks_that_are_alike_are_read_once() -> None:
    again = SameAgain()
    again.learn(b'{"content":"a","model":"x"}', b'{"content":"a","model":"y"}', "content", b'"a"')
    assert again.told(b'{"content":"\\u00e9 \xc3\xa9","model":"x"}') == b'{"content":"\\u00e9 \xc3\xa9","model":"y"}'
    for other in (b'{"content":"","model":"x"}', b'{"content":"b","model":"z"}', b'{"content":null,"model":"x"}'):
        assert again.told(other) is None


@pytest.mark.parametrize("text", [b'"\x01"', b'"\\q"', b'"', b'"a', b'"\\"', b'"a"b"', b"{}1"])
def test_what_is_no_json_is_garbage_there_too(text: bytes) -> None:
    translator = Translator(TARGET, "i")
    told(translator, event(said("a")))
    with pytest.raises(EngineFailed):
        told(translator, event(said("a").replace(b'"content":"a"', b'"content":' + text)))


def test_what_hides_behind_a_text_is_seen() -> None:
    """The same to its last byte, but for what stands where the text stood."""
    translator = Translator(TARGET, "i")
    told(translator, event(said("a")))
    hidden = b'"content":"b"},"finish_reason":"length"},{"index":1,"delta":{"content":"c"'
    (delta,) = told(translator, event(said("a").replace(b'"content":"a"', hidden)))
    assert isinstance(delta, Delta) and delta.tokens == 2
