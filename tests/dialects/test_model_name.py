"""The model's name in an answer is put there without touching another byte."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.call import Delta, Event, Finished
from chalicelib.dialects.model_name import MISSING, ModelName
from chalicelib.dialects.openai import Translator, buffered
from chalicelib.pool import OpenAICompatible
from tests.engines.answers import DONE, event

NAME = "gpt-4o"
TARGET = OpenAICompatible("gpu-1", url="http://10.0.0.7:8000/v1")


class _Told(msgspec.Struct):
    model: msgspec.Raw = MISSING


def put(data: bytes, name: str = NAME) -> bytes:
    return ModelName(name).put(data, msgspec.json.decode(data, type=_Told).model)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b'{"id":"1","model":"org/m","choices":[]}', b'{"id":"1","model":"gpt-4o","choices":[]}'),
        (b'{"id": "1", "model": "org/m", "choices": []}', b'{"id": "1", "model": "gpt-4o", "choices": []}'),
        (b'{"model":"m\\u00e9"}', b'{"model":"gpt-4o"}'),
        (b'{"model":"a\\/b"}', b'{"model":"gpt-4o"}'),
        (b'{"model":"say \\"model\\":\\"m\\""}', b'{"model":"gpt-4o"}'),
        # What only looks like it stays: in a text, in an object within, before and behind.
        (
            b'{"choices":[{"delta":{"content":"\\"model\\":\\"m\\""}}],"model":"m"}',
            b'{"choices":[{"delta":{"content":"\\"model\\":\\"m\\""}}],"model":"gpt-4o"}',
        ),
        (b'{"input":{"model":"m"},"model":"m","x":1.50}', b'{"input":{"model":"m"},"model":"gpt-4o","x":1.50}'),
        (b'{"model":"m","input":{"model":"m"}}', b'{"model":"gpt-4o","input":{"model":"m"}}'),
        (b'{"x-model":"m","model":"m"}', b'{"x-model":"m","model":"gpt-4o"}'),
        # However it is written, and where it is not.
        (b'{"model" :\n"m"}', b'{"model":"gpt-4o"}'),
        (b'{"model":null,"usage":{"model":null}}', b'{"model":"gpt-4o","usage":{"model":null}}'),
        (b'{"usage":{"model":null}}', b'{"usage":{"model":null},"model":"gpt-4o"}'),
        (b'{"model":7}', b'{"model":"gpt-4o"}'),
        (b'{"model":""}', b'{"model":"gpt-4o"}'),
        (b"{}", b'{"model":"gpt-4o"}'),
    ],
)
def test_the_name_is_put_at_the_top_and_nowhere_else(said: bytes, told: bytes) -> None:
    assert put(said) == told


@pytest.mark.parametrize("data", [b'{"model":"gpt-4o","x":1}', b'{ "x" : 1 , "model" : "gpt-4o" }'])
def test_an_answer_that_says_it_already_is_the_very_same(data: bytes) -> None:
    assert put(data) is data


@pytest.mark.parametrize("data", [b'{"model":"org/m"}', b"{}"])
def test_without_a_name_every_answer_keeps_its_own(data: bytes) -> None:
    assert put(data, "") is data


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "m", '"model":"m"', "model", "\\", "é"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "x-model", "a", '"model', "é"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["model", "id", "choices", "x-model", '"model']), JSON, max_size=5),
    st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
    st.booleans(),
)
def test_whatever_an_answer_is_only_its_own_name_changes(
    answer: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    data = json.dumps(answer, separators=separators, ensure_ascii=ascii_only).encode()
    assert json.loads(put(data)) == {**answer, "model": NAME}
    assert put(put(data)) == put(data)


def test_the_name_of_an_object_within_is_put_there() -> None:
    data = b'{"type":"message_start","message":{"id":"m1","model":"claude-opus","usage":{"input_tokens":7}}}'
    assert ModelName(NAME).put_into(data, "message", msgspec.Raw(b'"claude-opus"')) == data.replace(
        b"claude-opus", b"gpt-4o"
    )
    same = ModelName("claude-opus").put_into(data, "message", msgspec.Raw(b'"claude-opus"'))
    assert same is data


def _chunk(model: str, text: str) -> bytes:
    return b'{"model":"' + model.encode() + b'","choices":[{"delta":{"content":"' + text.encode() + b'"}}]}'


COUNTED = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}'


def test_every_chunk_of_a_stream_says_it_also_where_the_server_changes_its_mind() -> None:
    chunks = [_chunk("org/m", "a"), _chunk("org/other", "b"), _chunk(NAME, "c"), b'{"choices":[{"text":"d"}]}', COUNTED]
    translator = Translator(TARGET, "i-1", model=NAME)
    events: list[Event] = list(translator.feed(b"".join(map(event, chunks)) + DONE))
    told = [each.data for each in events if isinstance(each, Delta | Finished)]
    assert [msgspec.json.decode(each)["model"] for each in told] == [NAME] * 5
    assert told[0] == _chunk(NAME, "a")


@pytest.mark.parametrize("operation", ["chat.completion", "text_completion", "list"])
def test_a_whole_answer_says_it(operation: str) -> None:
    body = b'{"object":"%s","model":"org/m","data":[{"embedding":[0.10]}]}' % operation.encode()
    delta, _ = buffered(body, TARGET, NAME)
    assert delta.data == body.replace(b"org/m", b"gpt-4o")
